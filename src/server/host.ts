import type { Budget, Config, Issuer, ServerConfig } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { createBucket, type OwnBucket, shareOf } from '../exchange/bucket.ts'
import type { Place, Taken } from '../exchange/host-bucket.ts'
import { canonicalJson } from '../exchange/key.ts'
import { createMemoryReplayStore, ReplaysFull, type ReplayStore } from '../store/replay.ts'
import { answering, type Peer } from './channel.ts'

/** A bucket of the host, described by the worker that needs it: for a moment workers may have different configurations. */
export interface HostBudget {
  /** Made of all that the bucket depends on: the bucket stays as long as nothing of that changes. */
  readonly name: string
  /** The share of the issuer's budget for all processes of the host together. */
  readonly share: Budget | undefined
}

/** What a worker asks the primary. */
export type HostProtocol = {
  /** Answered when the turn has come, or when it cannot come in time. */
  readonly take: (what: { readonly of: HostBudget; readonly place: Place }) => Taken
  /** Gives up a place, by its number. */
  readonly leave: (what: number) => true
  readonly promise: (what: { readonly of: HostBudget; readonly key: string | undefined }) => number
  readonly pause: (what: { readonly of: HostBudget; readonly until: number }) => true
  readonly use: (what: Parameters<ReplayStore['isFirst']>) => 'first' | 'used' | 'full'
  /** Shows that the primary answers. */
  readonly here: (what: undefined) => true
}

/** What all workers are told when one of them has paused a bucket. */
export interface Paused {
  readonly name: string
  /** Epoch milliseconds. */
  readonly until: number
}

/** What the workers of one host share: one budget for each issuer, and the proofs that were used at any of them. */
export interface Host {
  /** Answers a worker until it is gone. Its places in line are then given up. */
  answer(worker: Peer): void
  /** How many exchanges could leave now, by bucket. */
  available(): Readonly<Record<string, number>>
  /** Forgets the buckets that this configuration does not need. Exchanges that wait for one wait on. */
  keep(config: Config): void
}

interface Kept {
  readonly bucket: OwnBucket
  pausedUntil: number
}

export interface HostOptions {
  /** Tells all workers at once, so that they keep the pause even while the primary is silent. */
  readonly tell: (paused: Paused) => void
  /** The proofs that were used. Default: none yet. */
  readonly replays?: ReplayStore
  /** For the jitter of what callers are told; default `Math.random`. */
  readonly random?: () => number
}

export function createHost(options: HostOptions): Host {
  const { tell, replays = createMemoryReplayStore(), random } = options
  const buckets = new Map<string, Kept>()

  function keptOf({ name, share }: HostBudget): Kept {
    const known = buckets.get(name)
    if (known !== undefined) return known
    const made = { bucket: createBucket(share, random), pausedUntil: 0 }
    buckets.set(name, made)
    return made
  }

  function pause(of: HostBudget, until: number): void {
    const kept = keptOf(of)
    if (until <= kept.pausedUntil) return
    kept.pausedUntil = until
    kept.bucket.pauseFor(until - Date.now())
    tell({ name: of.name, until })
  }

  async function take(of: HostBudget, place: Place, signal: AbortSignal): Promise<Taken> {
    const { deadline, key, background, wasAlone } = place
    const { bucket } = keptOf(of)
    if (wasAlone) bucket.empty()
    try {
      await bucket.take({ signal, deadline, key, background })
      return 'turn'
    } catch (error) {
      if (signal.aborted) return 'left'
      if (error instanceof GatewayError && error.retryAfter !== undefined) return error.retryAfter
      throw error
    }
  }

  return {
    answer(worker) {
      const places = new Map<number, AbortController>()
      worker.on('disconnect', () => {
        for (const place of places.values()) place.abort()
      })
      answering<HostProtocol>(worker, {
        async take({ of, place }) {
          const leaving = new AbortController()
          places.set(place.number, leaving)
          try {
            return await take(of, place, leaving.signal)
          } finally {
            places.delete(place.number)
          }
        },
        leave(number) {
          places.get(number)?.abort()
          return true
        },
        promise: async ({ of, key }) => keptOf(of).bucket.promise(key),
        pause({ of, until }) {
          pause(of, until)
          return true
        },
        async use(proof) {
          try {
            return (await replays.isFirst(...proof)) ? 'first' : 'used'
          } catch (error) {
            if (error instanceof ReplaysFull) return 'full'
            throw error
          }
        },
        here: () => true,
      })
    },
    available: () =>
      Object.fromEntries(Array.from(buckets, ([name, { bucket }]) => [name, bucket.available])),
    keep({ issuers, server }) {
      const needed = new Set(issuers.map((issuer) => hostBudgetOf(issuer, server).name))
      for (const name of buckets.keys()) if (!needed.has(name)) buckets.delete(name)
    },
  }
}

/** The bucket that an issuer has at each host. */
export function hostBudgetOf(
  { name, identifiers, budget }: Issuer,
  { replicas }: Pick<ServerConfig, 'replicas'>,
): HostBudget {
  const share = budget && shareOf(budget, replicas)
  return { name: canonicalJson([name, identifiers, share ?? null]), share }
}
