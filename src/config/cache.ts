import type { CacheInput } from './cache-options.ts'
import type { MaterialContext } from './material.ts'
import { type RedisConfig, resolveRedis } from './redis.ts'

export interface CacheConfig {
  readonly maxEntries: number
  readonly maxBytes: number
  /** Undefined: replicas share nothing. */
  readonly redis?: RedisConfig | undefined
}

/** What of a route decides what its issued tokens are kept by. */
interface Keyed {
  readonly exchange: {
    readonly key: string
    readonly grant: string
    readonly renew?: unknown
  }
}

/** @param routes those that are good; undefined where some are not, so that what they need cannot be told */
export function resolveCache(
  { maxEntries, maxBytes, redis }: CacheInput,
  routes: readonly Keyed[] | undefined,
  { faults, folder }: Omit<MaterialContext, 'at'>,
): CacheConfig {
  if (redis === undefined) return { maxEntries, maxBytes, redis }
  if (redis.shareContext && routes && !routes.some(restsOnSealingKey)) {
    const what =
      'is of no use without a route with `key: context`, `grant: client-credentials` or `renew: refresh-token`'
    faults.add(['cache', 'redis', 'shareContext'], what)
  }
  const at = ['cache', 'redis']
  return { maxEntries, maxBytes, redis: resolveRedis(redis, { at, faults, folder }) }
}

function restsOnSealingKey({ exchange: { key, grant, renew } }: Keyed): boolean {
  // A family of refresh tokens outlives the subject token that it came of.
  return key === 'context' || grant === 'client-credentials' || renew !== undefined
}
