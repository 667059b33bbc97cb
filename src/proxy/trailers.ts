import type { IncomingMessage } from 'node:http'
import { FRAMING, HOP_BY_HOP, isOwned, plainName } from '../config/header-names.ts'
import { PASS } from './fates.ts'
import type { Rules } from './rules.ts'

/**
 * RFC 9110, section 6.5.1: what has to be known before the content. Some recipients merge a trailer into the head all the
 * same: there it would have escaped the checks that were made on the head.
 */
const OF_THE_HEAD: ReadonlySet<string> = new Set([
  ...[...HOP_BY_HOP, ...FRAMING],
  ...['forwarded', 'via', 'cookie', 'set-cookie', 'set-cookie2', 'www-authenticate', 'dpop-nonce'],
  ...['cache-control', 'max-forwards', 'pragma', 'range'],
  ...['age', 'date', 'expires', 'location', 'refresh', 'retry-after', 'vary', 'warning'],
  ...['content-disposition', 'content-encoding', 'content-language', 'content-location'],
  ...['content-range', 'content-type'],
  ...['clear-site-data', 'content-security-policy', 'content-security-policy-report-only'],
  ...['permissions-policy', 'referrer-policy', 'strict-transport-security'],
  ...['x-content-type-options', 'x-frame-options'],
])
const PREFIXES_OF_THE_HEAD = ['if-', 'proxy-', 'sec-', 'access-control-', 'cross-origin-']

export type TrailerRules = Pick<Rules, 'fateOfResponse'>

/** The names in an upstream's Connection, in lower case: not forwarded, as trailers neither (RFC 9110, section 7.6.1). */
export type Listed = ReadonlySet<string> | undefined

function isTrailer(name: string, { fateOfResponse }: TrailerRules, listed: Listed): boolean {
  if (fateOfResponse(name) !== PASS || listed?.has(name) === true) return false
  const plain = plainName(name)
  return (
    !isOwned(plain) &&
    !OF_THE_HEAD.has(plain) &&
    !PREFIXES_OF_THE_HEAD.some((prefix) => plain.startsWith(prefix))
  )
}

// Node refuses other characters when it writes trailers, which is too late to answer with an error.
const NAME = /^[\w!#$%&'*+.^`|~-]+$/
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/**
 * The trailers to forward (RFC 9110, section 6.5), of names and values in turn: those that would pass in the head, except
 * names that decide something there. They are never merged into the head.
 */
export function trailersOf(
  raw: readonly (string | Buffer)[],
  rules: TrailerRules,
  listed: Listed,
): Record<string, string> {
  const trailers = Object.create(null) as Record<string, string>
  for (let index = 0; index < raw.length; index += 2) {
    const name = textOf(raw[index]!).toLowerCase()
    const value = textOf(raw[index + 1]!)
    if (!NAME.test(name) || !VALUE.test(value) || !isTrailer(name, rules, listed)) continue
    const before = trailers[name]
    trailers[name] = before === undefined ? value : `${before}, ${value}`
  }
  return trailers
}

function textOf(raw: string | Buffer): string {
  return typeof raw === 'string' ? raw : raw.toString('latin1')
}

/** The names in an upstream's Trailer header that are forwarded; undefined where none is. */
export function announced(names: string, rules: TrailerRules, listed: Listed): string | undefined {
  const kept = names
    .split(',')
    .map((name) => name.trim())
    .filter((name) => NAME.test(name) && isTrailer(name.toLowerCase(), rules, listed))
  return kept.length === 0 ? undefined : kept.join(', ')
}

/**
 * Whether a caller accepts trailers. In HTTP/2 every caller does; in HTTP/1.1 it must say so (RFC 9110, section 10.1.4), or
 * else it might take them for another answer. It need not name TE in Connection, because browsers do not.
 */
export function wantsTrailers({ httpVersionMajor, headers }: IncomingMessage): boolean {
  if (httpVersionMajor === 2) return true
  const { te } = headers
  // Node joins the lines of TE to one text, whatever its declarations say.
  return (
    typeof te === 'string' && te.split(',').some((one) => one.trim().toLowerCase() === 'trailers')
  )
}
