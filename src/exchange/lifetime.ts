import type { Permit } from '../authorize/authorize.ts'
import type { IssuedToken } from './issued.ts'

const LARGEST_SKEW_MS = 30_000
const SKEW_SHARE = 0.1

/**
 * How long an issued token may be kept from now on, in milliseconds: what is left of its life, at most the route's `maxAge`,
 * and with `key: token` at most what is left of the subject token's; less a skew for clocks and for the way to the upstream.
 * With `key: context` the token that a request presents bounds each use, not the entry. Zero or less: the issued token is
 * used once.
 */
export function keepFor(
  permit: Permit,
  token: Pick<IssuedToken, 'expiresAt'>,
  now: number,
): number {
  const left = Math.min(ownLife(permit, token, now), subjectLife(permit, now))
  return left - Math.min(LARGEST_SKEW_MS, left * SKEW_SHARE)
}

/**
 * Whether the entry ends with the subject token. Then a renewed entry would end at the same time, and as that time comes
 * closer one useless renewal would follow the other.
 */
export function endsWithSubject(permit: Permit, token: IssuedToken, now: number): boolean {
  return subjectLife(permit, now) <= ownLife(permit, token, now)
}

function ownLife({ route }: Permit, token: Pick<IssuedToken, 'expiresAt'>, now: number): number {
  return Math.min(token.expiresAt - now, route.exchange.maxAgeMs)
}

function subjectLife({ subject, route }: Permit, now: number): number {
  const { key, grant } = route.exchange
  // A client credentials token is one for all subjects, and does not end with any of theirs.
  const bound = key === 'token' && grant !== 'client-credentials'
  return bound ? subject.expiresAt - now : Number.POSITIVE_INFINITY
}
