/** How many exchanges, or calls of its Management API, the tenant allows. */
export interface Limit {
  /** Per second, from all clients together. */
  readonly rate: number
  /** How many may come at once: the size of the bucket. */
  readonly burst: number
}

/** The limit of Auth0's Essentials and Professional plans. */
export const USUAL_LIMIT: Limit = { rate: 8, burst: 8 }

/** The limit of Auth0's Management API for a production tenant of a paid plan. */
export const USUAL_MANAGEMENT_LIMIT: Limit = { rate: 16, burst: 50 }

export interface Allowance {
  readonly allowed: boolean
  /** Auth0 sends these with every answer that counts. `Retry-After` is not among them. */
  readonly headers: RateLimitHeaders
}

export interface RateLimitHeaders extends Readonly<Record<string, string>> {
  readonly 'x-ratelimit-limit': string
  readonly 'x-ratelimit-remaining': string
  /** When the bucket is full again, in epoch seconds, rounded up. */
  readonly 'x-ratelimit-reset': string
}

export interface Limiter {
  /** Takes one exchange out of the bucket, if there is one. */
  take(): Allowance
  /** How many were allowed and refused so far. */
  counts(): Counts
}

export interface Counts {
  readonly allowed: number
  readonly refused: number
}

/**
 * A token bucket, stored as the time at which it will be full again, so that rounding errors do not add up.
 *
 * @param now in epoch milliseconds
 * @throws {TypeError} when the rate is not above 0, or the burst is not a whole number of at least 1
 */
export function createLimiter({ rate, burst }: Limit, now: () => number): Limiter {
  if (!(rate > 0 && rate < Infinity)) throw new TypeError('the rate must be a number above 0')
  if (!(Number.isSafeInteger(burst) && burst >= 1)) {
    throw new TypeError('the burst must be a whole number of at least 1')
  }
  const oneMs = 1_000 / rate
  const wholeMs = burst * oneMs
  let fullAt = Number.NEGATIVE_INFINITY
  const counts = { allowed: 0, refused: 0 }
  return {
    take() {
      const time = now()
      // After the clock was set back the bucket is empty, but no debt remains.
      const emptied = Math.min(Math.max(fullAt - time, 0), wholeMs)
      const allowed = emptied + oneMs <= wholeMs + ROUNDING_MS
      const missing = allowed ? emptied + oneMs : emptied
      fullAt = time + missing
      counts[allowed ? 'allowed' : 'refused']++
      const remaining = Math.max(0, Math.floor((wholeMs - missing + ROUNDING_MS) / oneMs))
      return { allowed, headers: rateLimitHeaders(burst, remaining, fullAt) }
    },
    counts: () => ({ ...counts }),
  }
}

/** Far below the resolution of a clock, far above the rounding errors of the arithmetic. */
const ROUNDING_MS = 0.001

/** @param resetAt in epoch milliseconds */
export function rateLimitHeaders(
  limit: number,
  remaining: number,
  resetAt: number,
): RateLimitHeaders {
  return {
    'x-ratelimit-limit': String(limit),
    'x-ratelimit-remaining': String(remaining),
    'x-ratelimit-reset': String(Math.ceil(resetAt / 1_000)),
  }
}
