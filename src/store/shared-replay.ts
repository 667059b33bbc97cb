import type { Redis } from './redis.ts'
import { type ReplayStore, ReplaysUnknown } from './replay.ts'
import type { Seals } from './seal.ts'
import { script } from './shared.ts'

/** How far replicas' clocks may differ, in milliseconds: a proof that has expired for one, another might still accept. */
const CLOCKS_APART_MS = 10_000

// A script, although it is one command: a server may answer `OK` by chance, but not the number that the script returns.
const USE = script(`
if redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[1]) then return 1 end
return 0
`)

/**
 * A store of all replicas, which takes one round trip. Used proofs are kept in Redis alone, under names that reveal nothing:
 * a replica that gets no answer in time cannot tell whether a proof was used.
 *
 * With several sealing keys a proof is looked up by the names under all of them at once, because replicas that seal with
 * different keys have one in common. Two requests that use a proof at the same moment may then both be refused.
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
