import { LRUCache } from 'lru-cache'

/** How often something may be done, and how often at once. */
export interface Rate {
  readonly perSecond: number
  /** At least 1. */
  readonly burst: number
}

export interface Rates {
  /** Takes one of what is left to the key: 0; or how long it is until there is one again, in milliseconds. */
  take(key: string, rate: Rate): number
}

/**
 * Counts by key, evenly over time: no window begins at which everybody may come again. (The generic cell rate algorithm of
 * ITU-T I.371: of each key only the time is kept at which it will have paid for what it took.) Who is refused pays nothing.
 *
 * @param maxKeys the least recently used is forgotten beyond it, and begins anew
 */
export function createRates(maxKeys: number): Rates {
  const paidAt = new LRUCache<string, number>({ max: maxKeys })
  return {
    take(key, { perSecond, burst }) {
      const now = Date.now()
      const interval = 1_000 / perSecond
      const longest = burst * interval
      // A clock that was set back must not keep anybody out for longer than that.
      const paid = Math.min(paidAt.get(key) ?? 0, now + longest)
      const next = Math.max(paid, now) + interval
      const wait = next - now - longest
      // Tolerance for the rounding of fractional milliseconds.
      if (wait > 1e-6) return wait
      paidAt.set(key, next)
      return 0
    },
  }
}
