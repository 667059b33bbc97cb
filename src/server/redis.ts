import type { RedisConfig } from '../config/redis.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { createRedis } from '../store/redis.ts'
import type { ReplayStore } from '../store/replay.ts'
import { createSeals } from '../store/seal.ts'
import { createSharedStore } from '../store/shared.ts'
import { createSharedReplayStore } from '../store/shared-replay.ts'
import { createSharedTakingStore } from '../store/shared-taking.ts'
import { createSharedTurns } from '../store/turns.ts'
import type { SharedLevel } from './layers.ts'

/** The connection to Redis, and what replicas share through it. */
export interface Connected extends SharedLevel {
  /** The proofs and assertions that any replica has taken. */
  readonly replays: ReplayStore
  /** Resolves when Redis answers, or is not to be waited for any longer. */
  readonly started: Promise<void>
  readonly isThere: boolean
  close(): Promise<void>
}

/** Begins to connect. Does not need Redis to answer: the gateway starts without it. */
export function connectRedis(
  { sealingKeys, shareContext, ...where }: RedisConfig,
  { log, metrics }: { readonly log: Log; readonly metrics: Metrics },
): Connected {
  const redis = createRedis({
    ...where,
    noticed(state, error) {
      if (state === 'there') log.logger.info('redis is there')
      else log.logger.warn({ error }, 'redis is gone: each replica goes on by itself')
    },
  })
  const help = 'Whether Redis answers, 1 or 0: without it each replica goes on by itself.'
  metrics.sampled('behalf_redis_up', help, () => (redis.isThere ? 1 : 0), {}, 'min')
  const seals = createSeals(sealingKeys)
  return {
    store: createSharedStore(redis),
    turns: createSharedTurns(redis),
    replays: createSharedReplayStore(redis, seals),
    families: createSharedTakingStore(redis),
    seals,
    shareContext,
    started: redis.started,
    get isThere() {
      return redis.isThere
    },
    close: () => redis.close(),
  }
}
