import type { Permit } from '../authorize/authorize.ts'
import type { Exchange } from './exchange.ts'
import { keepFor } from './lifetime.ts'

/** What of an entry of the cache its renewal goes by. */
export interface Renewable {
  readonly lifeMs: number
  readonly endsAt: number
  renewAt: number
}

/** A renewal that brings less than this many times what is left is not worth an exchange. */
const WORTH = 2
const SOONEST_AGAIN_MS = 1_000

/**
 * Exchanges ahead of time, for nobody in particular: the request is answered with what is kept, whatever becomes of it.
 * Whether it fails or is not worth it, the next attempt is after half of what is left. Returns whether it began.
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
  // It is counted where it is sent. Who waits for nothing is told nothing.
  void (async () => exchange(permit, ask))().catch(() => undefined)
  return true
}
