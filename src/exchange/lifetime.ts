import type { Permit } from '../authorize/authorize.ts'
import type { IssuedToken } from './issued.ts'

const LARGEST_SKEW_MS = 30_000
const SKEW_SHARE = 0.1

/**
 * How long an issued token may be kept from now on, in milliseconds: what is left of it, at most the route's `maxAge`,
 * and with `key: token` at most what is left of the subject token, less a skew for clocks and for the way to the
 * upstream. With `key: context` the token that a request presents bounds each use, not the entry. Zero or less: it is
 * used once.
 */
export function keepFor({ subject, route }: Permit, token: IssuedToken, now: number): number {
  const { key, maxAgeMs } = route.exchange
  const left = Math.min(
    token.expiresAt - now,
    maxAgeMs,
    key === 'token' ? subject.expiresAt - now : Number.POSITIVE_INFINITY,
  )
  return left - Math.min(LARGEST_SKEW_MS, left * SKEW_SHARE)
}
