import { LRUCache } from 'lru-cache'

/** How often something may be done, and how often at once. */
export interface Rate {
  readonly perSecond: number
  /** At least 1. */
  readonly burst: number
}

export interface Rates {
  /** Takes one of those that the key has left, and returns 0. If there is none: in how many milliseconds there is one. */
  take(key: string, rate: Rate): number
}

/**
 * Limits rates by key, evenly over time: there is no window at whose beginning everybody may come again. (The generic cell
 * rate algorithm of ITU-T I.371: for each key only the time is kept when all that it took will be paid off.) An attempt that
 * is refused costs nothing.
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
      // After the clock was set back, a key must not be refused for longer than a whole burst takes.
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
