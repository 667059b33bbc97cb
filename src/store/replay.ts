import { GatewayError } from '../errors.ts'

/**
 * Remembers which keys were used, so that none is used twice. A store that processes share answers with a promise, and
 * rejects where it cannot be reached: a proof that nobody can check must not be let through.
 */
export interface ReplayStore {
  /**
   * Whether a key is used for the first time. Checks and remembers it in one step.
   *
   * @param until when the proof expires, in epoch milliseconds
   * @param holder who uses it: where a store is almost full, holders of many keys are refused first
   * @throws {GatewayError} `replay_store_unavailable`: {@link ReplaysUnknown} or {@link ReplaysFull}
   */
  isFirst(key: string, until: number, holder: string): boolean | Promise<boolean>
}

/** The store could not be asked. */
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

/** An entry weighs some 170 bytes: a hash of 43 characters, its place in the map and its time. */
const MOST = 1_000_000
const SWEEP_EVERY_MS = 1_000

export interface MemoryReplayOptions {
  /** How many used keys are remembered at once. Default 1 000 000, about 170 MB. */
  readonly maxEntries?: number
}

interface Used {
  readonly until: number
  readonly by: Holder
}

interface Holder {
  readonly name: string
  /** How many of the remembered keys are its own. */
  used: number
}

/**
 * A store of this process, which lives as long as the process. It refuses rather than forget a key that has not expired, or
 * else whoever fills the store could replay the proofs of others.
 *
 * A holder may have as many keys remembered as there are free places (the dynamic threshold of Choudhury and Hahne, 1998).
 * So a holder that uses all it can gets half of the store, and is refused while everybody else finds room; `n` such holders
 * get equal shares, and one more share stays free. A fixed limit would be too small for one holder, or too large for many.
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
  /** Begins with the oldest, and stops at the first that has not expired unless `all`: most live equally long. */
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
