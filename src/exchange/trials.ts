import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import { createMemoryStore } from '../store/memory.ts'

/** How many useless refresh tokens are tried for one access token, */
const MOST = 5
/** within this time, in milliseconds. */
const WITHIN_MS = 60_000
const BOUNDS = { maxEntries: 10_000, maxBytes: 16 * 1024 * 1024 }
const WEIGHT_BYTES = MOST * 128

/**
 * Keeps callers that make refresh tokens up from spending the budget that all callers share: no refusal is remembered of a
 * token that was never seen. A token that is tried again does not count twice, because its refusal is remembered.
 */
export class Trials {
  /** By access token: when each was tried. */
  readonly #tried = createMemoryStore<Map<string, number>>(BOUNDS)

  /**
   * @param name of the line that the refresh token belongs to
   * @returns a function to call unless the refresh token turns out to be useless
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
