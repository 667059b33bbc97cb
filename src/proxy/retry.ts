import type { Received } from './received.ts'

/**
 * Why an upstream did not serve a request. `unsent`: no connection came about. `stale`: a kept connection ended before a
 * byte of an answer. `unavailable`: it said that it cannot for now.
 */
export type Unserved = 'unsent' | 'stale' | 'unavailable'

/** RFC 9110, section 9.2.2: what may be done twice as if it were done once. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/**
 * Whether a request can be sent again: nothing of it was sent, or it may arrive twice and there is nothing of it that is
 * gone. Does NOT ask whether it should be.
 */
export function isRepeatable(
  method: string | undefined,
  { hasBody }: Received,
  why: Unserved,
): boolean {
  return why === 'unsent' || (!hasBody && IDEMPOTENT.has(method ?? ''))
}

/** What each request pays in, and the most that is kept: one in ten is sent again, and ten at once. */
const SHARE = 0.1
const MOST = 10

/** Keeps retries from multiplying what an upstream gets that is already in trouble. */
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
