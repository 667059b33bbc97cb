import type { Budget } from '../config/config.ts'
import type { Given, Need } from '../store/turns.ts'
import { Between, type SharedBucket } from './between.ts'
import { createBucket, type OwnBucket, shareOf } from './bucket.ts'
import { LeasedBucket } from './leased.ts'

export interface SharedBucketOptions {
  readonly budget: Budget | undefined
  /** How many processes share it, as it is configured. */
  readonly replicas: number
  /** Asks for turns; never rejects. Undefined: no answer came. */
  readonly ask: (need: Need) => Promise<Given | undefined>
  /** The name that a key has in all of them. It does not reveal the key. */
  readonly nameOf: (key: string) => string
  /** Turns that were `leased`, and those of them `unused`; exchanges `denied` one; turns of this replica's `own` share. */
  readonly count: (outcome: 'leased' | 'unused' | 'denied' | 'own', many: number) => void
  /** The bucket to use while no answer comes. Default: one of this process, with its share. */
  readonly own?: OwnBucket | undefined
  /** For the jitter of `Retry-After`; default `Math.random`. */
  readonly random?: () => number
}

/**
 * One budget for all replicas while they can ask for turns; while they cannot, each spends its own share, `rate` divided by
 * the number of replicas.
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
      // With more replicas than are configured, the shares of the configured number would exceed the budget.
      const seen = leased.replicas
      if (own !== undefined && seen <= replicas) return own
      return createBucket(budget && shareOf(budget, Math.max(replicas, seen)), random)
    },
    spent: () => count('own', 1),
  })
}
