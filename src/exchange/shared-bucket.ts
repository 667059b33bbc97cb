import type { Budget } from '../config/config.ts'
import type { Given, Need } from '../store/turns.ts'
import { Between, type SharedBucket } from './between.ts'
import { createBucket, type OwnBucket, shareOf } from './bucket.ts'
import { LeasedBucket } from './leased.ts'

export interface SharedBucketOptions {
  readonly budget: Budget | undefined
  /** How many processes share it, as it is configured. */
  readonly replicas: number
  /** Asks for turns; never rejects. Undefined: there is no answer. */
  readonly ask: (need: Need) => Promise<Given | undefined>
  /** By what all of them know a key, without learning it. */
  readonly nameOf: (key: string) => string
  /** `leased` and not used are `unused`; `denied` were told when to come back; `own` is of this replica's own share. */
  readonly count: (outcome: 'leased' | 'unused' | 'denied' | 'own', many: number) => void
  /** What there is while there is no answer. Default: a bucket of this process, with its share. */
  readonly own?: OwnBucket | undefined
  /** For the jitter of what callers are told; default `Math.random`. */
  readonly random?: () => number
}

/**
 * One budget for all replicas while they can ask for it, and each its own share, `rate` over the number of replicas, while
 * they cannot.
 */
export function createSharedBucket(options: SharedBucketOptions): SharedBucket {
  const { budget, replicas, ask, count, own, random } = options
  let leased!: LeasedBucket
  return new Between({
    asked(answered) {
      leased = new LeasedBucket({
        ...options,
        ask: async (need) => {
          const given = await ask(need)
          answered(given !== undefined)
          return given
        },
      })
      return leased
    },
    own() {
      // Where more were seen than are configured, the shares of those that are configured are too large.
      const seen = leased.replicas
      if (own !== undefined && seen <= replicas) return own
      return createBucket(budget && shareOf(budget, Math.max(replicas, seen)), random)
    },
    spent: () => count('own', 1),
  })
}
