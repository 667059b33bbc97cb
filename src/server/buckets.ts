import type { Config, Issuer } from '../config/config.ts'
import { createSharedBucket } from '../exchange/between.ts'
import { type Bucket, createBucket, shareOf } from '../exchange/bucket.ts'
import type { Metrics } from '../metrics.ts'
import type { Seals } from '../store/seal.ts'
import type { SharedTurns } from '../store/turns.ts'
import type { Lease } from './lasting.ts'

/** Where replicas share their budgets. */
export interface SharedBudgets {
  readonly turns: SharedTurns
  readonly seals: Seals
}

export interface BucketsOptions {
  readonly metrics: Metrics
  readonly lease: Lease
  /** Undefined: each replica has its share. */
  readonly shared: SharedBudgets | undefined
}

/**
 * A bucket for each issuer. What has left counts whoever sent it: a bucket is as full as it was, unless it is of another
 * size.
 */
export function bucketsOf(config: Config, options: BucketsOptions): ReadonlyMap<Issuer, Bucket> {
  const { metrics, lease, shared } = options
  const buckets = new Map<Issuer, Bucket>()
  for (const issuer of config.issuers) {
    const bucket = shared === undefined ? ownBucket(issuer) : sharedBucket(issuer, shared)
    buckets.set(issuer, bucket)
    if (issuer.budget === undefined) continue
    const help = 'Exchanges that could leave now.'
    const available = (): number => bucket.available
    const labels = { issuer: issuer.name }
    lease.own(metrics.sampled('behalf_issuer_budget_available', help, available, labels))
  }
  return buckets

  function ownBucket(issuer: Issuer): Bucket {
    const { name, identifiers, budget } = issuer
    const share = budget && shareOf(budget, config.server.replicas)
    return lease.use('bucket', [name, identifiers, share], () => createBucket(share))
  }

  function sharedBucket(issuer: Issuer, { turns, seals }: SharedBudgets): Bucket {
    const { name, identifiers, budget } = issuer
    const { replicas } = config.server
    const [identifier = name] = identifiers
    const bucket = lease.use(
      'shared bucket',
      [name, identifiers, budget, replicas, config.cache.redis],
      () =>
        createSharedBucket({
          ...{ budget, replicas },
          ask: (need) => turns.ask(identifier, need),
          nameOf: (key) => seals.named('caller', key)[0]!,
          count: counting(name, metrics),
        }),
      (one) => one.close(),
    )
    const help = 'Whether replicas share the budget, 1 or 0: else each has its own share.'
    const isShared = (): number => (bucket.isShared ? 1 : 0)
    const labels = { issuer: name }
    lease.own(metrics.sampled('behalf_issuer_budget_shared', help, isShared, labels, 'min'))
    return bucket
  }
}

/** Each replica's share of an issuer's budget, in exchanges per second. */
export function rateOf({ budget }: Issuer, { server }: Config): number | undefined {
  return budget && shareOf(budget, server.replicas).rate
}

function counting(
  issuer: string,
  metrics: Metrics,
): Parameters<typeof createSharedBucket>[0]['count'] {
  const help = 'Turns of a budget that replicas share, by what became of them.'
  return (outcome, many) => {
    metrics.counter('behalf_issuer_turns_total', help, { issuer, outcome }).value += many
  }
}
