import type { Received } from './received.ts'

/**
 * Why an upstream did not serve a request. `unsent`: no connection could be made. `stale`: a kept connection ended before a
 * byte of an answer arrived. `unavailable`: it answered 502, 503 or 504.
 */
export type Unserved = 'unsent' | 'stale' | 'unavailable'

/** RFC 9110, section 9.2.2: the methods that have the same effect when they are sent twice. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/**
 * Whether a request can be sent again: nothing of it was sent, or it may arrive twice and has no body that is used up. Does
 * NOT judge whether it should be.
 */
export function isRepeatable(
  method: string | undefined,
  { hasBody }: Received,
  why: Unserved,
): boolean {
  return why === 'unsent' || (!hasBody && IDEMPOTENT.has(method ?? ''))
}

/** What each request adds to the budget, and the most that it holds: one request in ten is sent again, and ten at once. */
const SHARE = 0.1
const MOST = 10

/** Keeps retries from multiplying the load of an upstream that is already in trouble. */
export class RetryBudget {
  #credit = MOST

  earn(): void {
    if (this.#credit < MOST) this.#credit += SHARE
  }

  spend(): boolean {
    if (this.#credit < 1) return false
    this.#credit -= 1
    return true
  }
}
