import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import { createMemoryStore } from '../store/memory.ts'

/** So many refresh tokens that come to nothing are tried for one access token, */
const MOST = 5
/** within this time, in milliseconds. */
const WITHIN_MS = 60_000
const BOUNDS = { maxEntries: 10_000, maxBytes: 16 * 1024 * 1024 }
const WEIGHT_BYTES = MOST * 128

/**
 * Keeps callers that make refresh tokens up from spending the exchanges that all others live on: each new one is another
 * that nothing is known of. One that is tried again does not count twice: its refusal is remembered.
 */
export class Trials {
  /** By access token: when each was tried. */
  readonly #tried = createMemoryStore<Map<string, number>>(BOUNDS)

  /**
   * @param name of the line that the refresh token belongs to
   * @returns what is to be called unless it came to nothing
   * @throws {GatewayError} `rate_limited`
   */
  begin({ subject: { digest } }: Permit, name: string): () => void {
    const now = Date.now()
    const tried = this.#tried.get(digest) ?? new Map<string, number>()
    for (const [one, at] of tried) if (now - at >= WITHIN_MS) tried.delete(one)
    if (tried.size >= MOST && !tried.has(name)) {
      throw new GatewayError('rate_limited', 'too many refresh tokens came to nothing', {
        retryAfter: WITHIN_MS / 1_000,
      })
    }
    tried.set(name, now)
    this.#tried.set(digest, tried, WITHIN_MS, WEIGHT_BYTES)
    return () => void tried.delete(name)
  }
}
