import type { DpopConfig } from '../config/possession.ts'
import { GatewayError } from '../errors.ts'
import type { Metrics } from '../metrics.ts'
import { createMemoryReplayStore, type ReplayStore, ReplaysUnknown } from '../store/replay.ts'

export interface ReplaysOptions {
  /** The store of all workers of this host. Default: this process is no worker. */
  readonly host?: ReplayStore | undefined
  /** The store that replicas share. Default: none. */
  readonly shared?: ReplayStore | undefined
  /** The store of this process. Default: an empty one. */
  readonly local?: ReplayStore
  readonly metrics: Metrics
}

/** The store for the proofs of an API, or for clients' assertions, by its `replay` option. All share what they know. */
export type ReplaysOf = (of: Pick<DpopConfig, 'replay'>) => ReplayStore

type Proof = Parameters<ReplayStore['isFirst']>
/** `local`: not known to be used, but a wider store could not be asked. */
type Outcome = 'first' | 'used' | 'local' | 'unavailable'

/**
 * Finds out whether a proof was used. It asks this process first, which refuses at once what it has seen, and bounds how
 * many proofs one key may use; then the host's workers; then all replicas, where they share Redis. Where one of these
 * cannot be asked the proof is refused, unless its API says `replay: local`; then the remaining ones are still asked.
 */
export function createReplays(options: ReplaysOptions): ReplaysOf {
  const { host, shared, metrics, local = createMemoryReplayStore() } = options
  const wider = [host, shared].filter((store) => store !== undefined)
  const count = countsOf(metrics)

  async function judge(proof: Proof, mayBeLocal: boolean): Promise<Outcome> {
    if (!(await local.isFirst(...proof))) return 'used'
    let outcome: Outcome = 'first'
    for (const store of wider) {
      try {
        if (!(await store.isFirst(...proof))) return 'used'
      } catch (error) {
        // A key that has used too many proofs (`ReplaysFull`) is refused in any case.
        if (!mayBeLocal || !(error instanceof ReplaysUnknown)) throw error
        outcome = 'local'
      }
    }
    return outcome
  }
  return ({ replay }) => ({
    async isFirst(...proof) {
      try {
        const outcome = await judge(proof, replay === 'local')
        count[outcome].value++
        return outcome !== 'used'
      } catch (error) {
        if (isUnavailable(error)) count.unavailable.value++
        throw error
      }
    },
  })
}

function countsOf(metrics: Metrics) {
  const help = 'DPoP proofs and client assertions by what is known of their use.'
  const counter = (outcome: Outcome) => metrics.counter('behalf_proofs_total', help, { outcome })
  return {
    first: counter('first'),
    used: counter('used'),
    local: counter('local'),
    unavailable: counter('unavailable'),
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof GatewayError && error.code === 'replay_store_unavailable'
}
