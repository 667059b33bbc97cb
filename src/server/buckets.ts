import type { Config, Issuer } from '../config/config.ts'
import { processesOf } from '../config/processes.ts'
import type { SharedBucket } from '../exchange/between.ts'
import { type Bucket, createBucket, shareOf } from '../exchange/bucket.ts'
import { createHostBucket } from '../exchange/host-bucket.ts'
import { createSharedBucket } from '../exchange/shared-bucket.ts'
import type { Metrics } from '../metrics.ts'
import type { Seals } from '../store/seal.ts'
import type { SharedTurns } from '../store/turns.ts'
import { hostBudgetOf } from './host.ts'
import type { Lease } from './lasting.ts'
import type { Primary } from './primary.ts'

/** What replicas need to share their budgets. */
export interface SharedBudgets {
  readonly turns: SharedTurns
  readonly seals: Seals
}

export interface BucketsOptions {
  readonly metrics: Metrics
  readonly lease: Lease
  /** Undefined: this process is no worker. */
  readonly primary: Primary | undefined
  /** Undefined: each replica has its share. */
  readonly shared: SharedBudgets | undefined
}

/**
 * A bucket for each issuer. Replicas that share Redis share one, while Redis answers; else the workers of a host share one,
 * in the primary; else, and while the primary is silent, each process has its own. A reload keeps a bucket as full as it
 * is, unless its size changes.
 */
export function bucketsOf(config: Config, options: BucketsOptions): ReadonlyMap<Issuer, Bucket> {
  const { metrics, lease, primary, shared } = options
  const { server } = config
  const processes = processesOf(server)
  const buckets = new Map<Issuer, Bucket>()
  for (const issuer of config.issuers) {
    const host = primary && hostBucket(issuer, primary)
    const bucket =
      shared === undefined ? (host ?? ownBucket(issuer)) : sharedBucket(issuer, shared, host)
    buckets.set(issuer, bucket)
    if (issuer.budget === undefined) continue
    const help = 'Exchanges that could leave now.'
    const available = (): number => bucket.available
    const labels = { issuer: issuer.name }
    // All workers report the same bucket, hence `max`.
    lease.own(metrics.sampled('behalf_issuer_budget_available', help, available, labels, 'max'))
  }
  return buckets

  function ownBucket(issuer: Issuer): Bucket {
    const { name, identifiers, budget } = issuer
    const share = budget && shareOf(budget, processes)
    return lease.use('bucket', [name, identifiers, share], () => createBucket(share))
  }

  function hostBucket(issuer: Issuer, { bucket }: Primary): SharedBucket {
    const of = hostBudgetOf(issuer, server)
    const share = issuer.budget && shareOf(issuer.budget, processes)
    const count = counting(issuer.name, metrics)
    return lease.use(
      'bucket of the host',
      [of.name, share],
      () => createHostBucket({ elsewhere: bucket(of), share, spent: () => count('alone', 1) }),
      (one) => one.close(),
    )
  }

  function sharedBucket(
    issuer: Issuer,
    { turns, seals }: SharedBudgets,
    own: SharedBucket | undefined,
  ): Bucket {
    const { name, identifiers, budget } = issuer
    const [identifier = name] = identifiers
    const bucket = lease.use(
      'shared bucket',
      [name, identifiers, budget, server.replicas, processes, config.cache.redis],
      () =>
        createSharedBucket({
          ...{ budget, replicas: processes, own },
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

/** Each process's share of an issuer's budget, in exchanges per second. */
export function rateOf({ budget }: Issuer, { server }: Config): number | undefined {
  return budget && shareOf(budget, processesOf(server)).rate
}

function counting(
  issuer: string,
  metrics: Metrics,
): (outcome: 'leased' | 'unused' | 'denied' | 'own' | 'alone', many: number) => void {
  const help = 'Turns of a budget that processes share, by what became of them.'
  return (outcome, many) => {
    metrics.counter('behalf_issuer_turns_total', help, { issuer, outcome }).value += many
  }
}
