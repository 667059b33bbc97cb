import type { Permit } from '../authorize/authorize.ts'
import type { Exchange } from './exchange.ts'
import { keepFor } from './lifetime.ts'

/** The part of a cache entry that its renewal depends on. */
export interface Renewable {
  readonly lifeMs: number
  readonly endsAt: number
  renewAt: number
}

/** A renewal that brings less than this many times what is left is not worth an exchange. */
const WORTH = 2
const SOONEST_AGAIN_MS = 1_000

/**
 * Exchanges ahead of time, in the background: the request is answered from the cache, whatever becomes of the renewal. If
 * that fails, or is not worth it, the next attempt is after half of the time left. Returns whether a renewal began.
 */
export function renew(exchange: Exchange, permit: Permit, entry: Renewable, now: number): boolean {
  const left = entry.endsAt - now
  entry.renewAt = now + Math.max(left / 2, SOONEST_AGAIN_MS)
  if (keepFor(permit, { expiresAt: now + entry.lifeMs }, now) < WORTH * left) return false
  const ask = {
    signal: new AbortController().signal,
    deadline: now + permit.route.exchange.timeoutMs,
    background: true,
    outcome: undefined,
  }
  // `measured` counts a failure. No request waits for the renewal, so nobody is told.
  void (async () => exchange(permit, ask))().catch(() => undefined)
  return true
}
