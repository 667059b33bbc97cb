import type { SubjectToken } from '../../authenticate/authenticate.ts'
import { formOf } from '../../authenticate/form.ts'
import { unverifiedClaims, unverifiedHeader } from '../../authenticate/jwt.ts'
import type { Api } from '../../config/config.ts'
import type { Report } from './report.ts'

/** Notes what a verified token says. */
export function noteSubject(report: Report, subject: SubjectToken): void {
  const { api, issuer, kind, client, actor, scopes, permissions, expiresAt } = subject
  report.note('API', api.name)
  report.note('issuer', issuer)
  report.note('audience', api.audience)
  report.note('subject', `${subject.subject}${kind === 'unknown' ? '' : ` (${kind})`}`)
  report.note('client', client)
  report.note('actor', actor && (actor.subject ?? 'without a name'))
  report.note('scopes', [...scopes].join(' ') || 'none')
  if (permissions.size > 0) report.note('permissions', [...permissions].join(' '))
  report.note('ends', inTime(expiresAt))
}

/**
 * Notes what a refused token says about itself, beside what the APIs of the route want. The token is not verified, and
 * nothing is decided by it here.
 */
export function noteUnverified(report: Report, token: string, apis: readonly Api[]): void {
  const form = formOf(token)
  const taken = [...new Set(apis.flatMap(formsOf))]
  if (form !== 'signed' || !taken.includes(form)) {
    report.note('form', form, taken.includes(form) ? undefined : taken.join(' or '))
    return
  }
  const read = readable(token)
  if (read === undefined) {
    report.note('form', 'unreadable', 'three parts in base64url, of which two are JSON objects')
    return
  }
  const { header, claims } = read
  const wanted = (fits: boolean, texts: readonly string[]): string | undefined =>
    fits ? undefined : [...new Set(texts)].join(' or ')
  const algorithms = apis.flatMap(algorithmsOf)
  report.note(
    'alg',
    text(header['alg']),
    wanted(algorithms.includes(text(header['alg'])), algorithms),
  )
  report.note(
    'typ',
    text(header['typ']),
    wanted(
      apis.some((api) => fitsTyp(api, header['typ'])),
      ['at+jwt'],
    ),
  )
  if (header['kid'] !== undefined) report.note('kid', text(header['kid']))
  const issuers = apis.flatMap(({ issuer }) => issuer.identifiers)
  report.note('iss', text(claims['iss']), wanted(issuers.includes(text(claims['iss'])), issuers))
  const audiences = apis.map(({ audience }) => audience)
  const named = [claims['aud']].flat()
  report.note(
    'aud',
    named.map(text).join(' '),
    wanted(
      audiences.some((one) => named.includes(one)),
      audiences,
    ),
  )
  noteTimes(report, claims, Math.max(...apis.map(({ clockToleranceMs }) => clockToleranceMs)))
  const mechanisms = apis.map(({ proofOfPossession }) => proofOfPossession)
  if (claims['cnf'] !== undefined) report.note('cnf', 'bound', 'shown to be held by the caller')
  else if (mechanisms.every((one) => one?.required)) {
    report.note('cnf', 'none', [...new Set(mechanisms.map((one) => one?.mechanism))].join(' or '))
  }
}

function formsOf({ decryptionKeys, introspection }: Api): readonly string[] {
  return [
    decryptionKeys === undefined ? 'signed' : 'encrypted',
    ...(introspection ? ['opaque'] : []),
  ]
}

type Members = Readonly<Record<string, unknown>>

function readable(
  token: string,
): { readonly header: Members; readonly claims: Members } | undefined {
  try {
    return { header: unverifiedHeader(token), claims: unverifiedClaims(token) }
  } catch {
    return undefined
  }
}

function algorithmsOf({ verification }: Api): readonly string[] {
  return verification.kind === 'secret' ? ['HS256'] : verification.algorithms
}

/** Judges `typ` as the path does: a media type may have its `application/` or not (RFC 7515, section 4.1.9). */
function fitsTyp({ typ }: Api, written: unknown): boolean {
  const short = text(written)
    .toLowerCase()
    .replace(/^application\//, '')
  return short === 'at+jwt' || (typ === undefined && (written === undefined || short === 'jwt'))
}

function noteTimes(report: Report, { exp, nbf }: Members, toleranceMs: number): void {
  const now = Date.now()
  if (typeof exp !== 'number') report.note('exp', text(exp), 'a time')
  else {
    const hasEnded = exp * 1_000 + toleranceMs <= now
    report.note('exp', inTime(exp * 1_000), hasEnded ? 'later than now' : undefined)
  }
  if (typeof nbf === 'number' && nbf * 1_000 - toleranceMs > now) {
    report.note('nbf', inTime(nbf * 1_000), 'earlier than now')
  }
}

function text(value: unknown): string {
  if (value === undefined) return 'none'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** A time relative to now, for people: `in 5 min`. */
export function inTime(atMs: number): string {
  const seconds = Math.round((atMs - Date.now()) / 1_000)
  const distance = span(Math.abs(seconds))
  return seconds < 0 ? `${distance} ago` : `in ${distance}`
}

function span(seconds: number): string {
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 120) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d`
}
