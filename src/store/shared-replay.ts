import type { Redis } from './redis.ts'
import { type ReplayStore, ReplaysUnknown } from './replay.ts'
import type { Seals } from './seal.ts'
import { script } from './shared.ts'

/** By so much may the clocks of replicas differ: what one takes no longer, another might. */
const CLOCKS_APART_MS = 10_000

// One command, and a script all the same: a number of ours is no answer that a server gives by chance, as `OK` is.
const USE = script(`
if redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[1]) then return 1 end
return 0
`)

/**
 * Of all replicas, one round trip. What was used is known by names that say nothing, and kept in Redis alone: who cannot ask
 * it, or gets no answer in time, cannot tell.
 *
 * While there are several sealing keys each is looked up by all of their names, at once: replicas that seal by different ones
 * have one in common. Two that use one at the same moment may then both be refused.
 *
 * @returns a store that throws {@link ReplaysUnknown}
 */
export function createSharedReplayStore(redis: Redis, seals: Pick<Seals, 'named'>): ReplayStore {
  async function isFirstOf(name: string, ttl: string): Promise<boolean> {
    const reply = await redis.run(USE, [name], [ttl])
    if (reply === 0 || reply === 1) return reply === 1
    throw new ReplaysUnknown()
  }
  return {
    async isFirst(key, until) {
      const ttlMs = Math.max(0, until - Date.now()) + CLOCKS_APART_MS
      const ttl = String(Math.ceil(ttlMs))
      const names = seals.named('proof', key)
      const firsts = await Promise.all(names.map((name) => isFirstOf(name, ttl)))
      return firsts.every((isFirst) => isFirst)
    },
  }
}
