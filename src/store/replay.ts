import { GatewayError } from '../errors.ts'

/**
 * Knows what was used, so that nothing is used twice. A store that processes share answers later, and where it cannot be
 * reached it rejects: who cannot tell must not let through.
 */
export interface ReplayStore {
  /**
   * Whether nobody used it before. Looks and remembers in one step.
   *
   * @param until when nobody would take it any more, in epoch milliseconds
   * @throws {GatewayError} `replay_store_unavailable`
   */
  isFirst(key: string, until: number): boolean | Promise<boolean>
}

/** A hash of 43 characters and its place in the map weigh some 130 bytes. */
const MOST = 1_000_000
const SWEEP_EVERY_MS = 1_000

export interface MemoryReplayOptions {
  /** How many are remembered at once. Default 1 000 000, about 130 MB. */
  readonly maxEntries?: number
}

/**
 * Of this process, and until it ends. Full, it forgets nothing that still counts, or whoever fills it could use again what
 * others used: it refuses instead.
 */
export function createMemoryReplayStore({
  maxEntries = MOST,
}: MemoryReplayOptions = {}): ReplayStore {
  const used = new Map<string, number>()
  let sweptAt = 0
  /** The oldest first, which end first where all live equally long. */
  function forgetEnded(now: number, all: boolean): void {
    for (const [key, until] of used) {
      if (until > now) {
        if (all) continue
        return
      }
      used.delete(key)
    }
  }
  return {
    isFirst(key, until) {
      const now = Date.now()
      forgetEnded(now, false)
      if (used.has(key)) return false
      if (used.size >= maxEntries && Math.abs(now - sweptAt) >= SWEEP_EVERY_MS) {
        sweptAt = now
        forgetEnded(now, true)
      }
      if (used.size >= maxEntries) {
        const detail = 'too many proofs were used to know them all'
        throw new GatewayError('replay_store_unavailable', detail, { retryAfter: 1 })
      }
      used.set(key, until)
      return true
    },
  }
}
