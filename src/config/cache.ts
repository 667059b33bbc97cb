import type { CacheInput } from './cache-options.ts'
import type { Faults } from './faults.ts'

export interface CacheConfig {
  readonly maxEntries: number
  readonly maxBytes: number
  /** Undefined: replicas share nothing. */
  readonly redis?: RedisConfig | undefined
}

/** The level that replicas share. */
export interface RedisConfig {
  /** With its password. */
  readonly url: string
  /** Of 32 bytes each. The first seals, each opens. */
  readonly sealingKeys: readonly Buffer[]
  /** Share also what rests on the sealing key alone. Default false. */
  readonly shareContext: boolean
  /** How long an answer is waited for, in milliseconds. Default 20. */
  readonly timeoutMs: number
  /** Default 3. */
  readonly resp: 2 | 3
}

/** What of a route decides what its issued tokens are kept by. */
interface Keyed {
  readonly exchange: { readonly key: string; readonly grant: string }
}

/** @param routes those that are good; undefined where some are not, so that what they need cannot be told */
export function resolveCache(
  { maxEntries, maxBytes, redis }: CacheInput,
  routes: readonly Keyed[] | undefined,
  faults: Faults,
): CacheConfig {
  if (redis === undefined) return { maxEntries, maxBytes, redis }
  const { url, sealingKeys, shareContext, timeout, protocol } = redis
  if (shareContext && routes && !routes.some(restsOnSealingKey)) {
    const what = 'is of no use without a route with `key: context` or `grant: client-credentials`'
    faults.add(['cache', 'redis', 'shareContext'], what)
  }
  return {
    maxEntries,
    maxBytes,
    redis: {
      url,
      sealingKeys: sealingKeys.map((key) => Buffer.from(key, 'base64')),
      shareContext,
      timeoutMs: timeout,
      resp: protocol,
    },
  }
}

function restsOnSealingKey({ exchange }: Keyed): boolean {
  return exchange.key === 'context' || exchange.grant === 'client-credentials'
}
