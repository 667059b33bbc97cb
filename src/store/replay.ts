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
   * @param holder whose it is: who uses much is the first to be refused
   * @throws {GatewayError} `replay_store_unavailable`: {@link ReplaysUnknown} or {@link ReplaysFull}
   */
  isFirst(key: string, until: number, holder: string): boolean | Promise<boolean>
}

/** Nobody could be asked, as against a store that knows and refuses. */
export class ReplaysUnknown extends GatewayError {
  constructor() {
    const detail = 'nobody can tell whether the proof was used'
    super('replay_store_unavailable', detail, { retryAfter: 1 })
  }
}

/** The store is full: proofs that still count are not forgotten to make room. */
export class ReplaysFull extends GatewayError {
  constructor() {
    const detail = 'too many proofs of this key were used to know them all'
    super('replay_store_unavailable', detail, { retryAfter: 1 })
  }
}

/** A hash of 43 characters, its place in the map and its time weigh some 170 bytes. */
const MOST = 1_000_000
const SWEEP_EVERY_MS = 1_000

export interface MemoryReplayOptions {
  /** How many are remembered at once. Default 1 000 000, about 170 MB. */
  readonly maxEntries?: number
}

interface Used {
  readonly until: number
  readonly by: Holder
}

interface Holder {
  readonly name: string
  /** How many of those that are remembered are its own. */
  used: number
}

/**
 * Of this process, and until it ends. It forgets nothing that still counts, or whoever fills it could use again what others
 * used: it refuses instead.
 *
 * A holder may have as many remembered as there is room for others (the dynamic threshold of Choudhury and Hahne, 1998). So one
 * that uses all it can has half, and is refused itself while everybody else finds room; of `n` such each has its even share,
 * and as much is left for who comes next. No number has to be guessed that is too small for one and too large for many.
 */
export function createMemoryReplayStore({
  maxEntries = MOST,
}: MemoryReplayOptions = {}): ReplayStore {
  const used = new Map<string, Used>()
  const holders = new Map<string, Holder>()
  let sweptAt = 0

  function forget(key: string, { by }: Used): void {
    used.delete(key)
    if (--by.used === 0) holders.delete(by.name)
  }
  /** The oldest first, which end first where all live equally long. */
  function forgetEnded(now: number, all: boolean): void {
    for (const [key, one] of used) {
      if (one.until <= now) forget(key, one)
      else if (!all) return
    }
  }
  function hasRoom(holder: string): boolean {
    return (holders.get(holder)?.used ?? 0) < maxEntries - used.size
  }
  function holderOf(name: string): Holder {
    const known = holders.get(name)
    if (known !== undefined) return known
    const made = { name, used: 0 }
    holders.set(name, made)
    return made
  }
  return {
    isFirst(key, until, holder) {
      const now = Date.now()
      forgetEnded(now, false)
      if (used.has(key)) return false
      if (!hasRoom(holder) && Math.abs(now - sweptAt) >= SWEEP_EVERY_MS) {
        sweptAt = now
        forgetEnded(now, true)
      }
      if (!hasRoom(holder)) throw new ReplaysFull()
      const by = holderOf(holder)
      by.used++
      used.set(key, { until, by })
      return true
    },
  }
}
