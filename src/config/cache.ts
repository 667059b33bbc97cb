import type { CacheInput } from './cache-options.ts'
import type { MaterialContext } from './material.ts'
import { type RedisConfig, resolveRedis } from './redis.ts'

export interface CacheConfig {
  readonly maxEntries: number
  readonly maxBytes: number
  /** Undefined: replicas do not share issued tokens. */
  readonly redis?: RedisConfig | undefined
}

/** The options of a route that decide how its issued tokens are keyed and sealed. */
interface Keyed {
  readonly exchange: {
    readonly key: string
    readonly grant: string
    readonly renew?: unknown
  }
}

/** @param routes all routes; undefined where some have faults, because the needs of those are not known */
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
  // A family of refresh tokens outlives the subject token, which could otherwise be part of its seal.
  return key === 'context' || grant === 'client-credentials' || renew !== undefined
}
