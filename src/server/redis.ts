import type { RedisConfig } from '../config/cache.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { createRedis } from '../store/redis.ts'
import { createSeals } from '../store/seal.ts'
import { createSharedStore } from '../store/shared.ts'
import type { SharedLevel } from './layers.ts'

/** The connection to what replicas share, and what is built on it. */
export interface Connected extends SharedLevel {
  /** Resolves when it is there, or is not to be waited for any more. */
  readonly started: Promise<void>
  readonly isThere: boolean
  close(): Promise<void>
}

/** Begins to connect. What is configured is all that is needed for a start: Redis need not be there. */
export function connectRedis(
  { url, sealingKeys, shareContext, timeoutMs, resp }: RedisConfig,
  { log, metrics }: { readonly log: Log; readonly metrics: Metrics },
): Connected {
  const redis = createRedis({
    ...{ url, timeoutMs, resp },
    noticed(state, error) {
      if (state === 'there') log.logger.info('redis is there')
      else log.logger.warn({ error }, 'redis is gone: each replica goes on by itself')
    },
  })
  const help = 'Whether Redis answers, 1 or 0: without it each replica goes on by itself.'
  metrics.sampled('behalf_redis_up', help, () => (redis.isThere ? 1 : 0))
  return {
    store: createSharedStore(redis),
    seals: createSeals(sealingKeys),
    shareContext,
    started: redis.started,
    get isThere() {
      return redis.isThere
    },
    close: () => redis.close(),
  }
}
