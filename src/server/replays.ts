import type { DpopConfig } from '../config/possession.ts'
import { GatewayError } from '../errors.ts'
import type { Metrics } from '../metrics.ts'
import { createMemoryReplayStore, type ReplayStore } from '../store/replay.ts'

export interface ReplaysOptions {
  /** What replicas share. Default: nothing. */
  readonly shared?: ReplayStore | undefined
  /** What this process knows. Default: nothing yet. */
  readonly local?: ReplayStore
  readonly metrics: Metrics
}

/** The store for each API, by what it says of proofs, and for the assertions of clients. All of them know the same. */
export type ReplaysOf = (of: Pick<DpopConfig, 'replay'>) => ReplayStore

type Proof = Parameters<ReplayStore['isFirst']>
/** `local`: first as far as this process knows, and nobody else could be asked. */
type Outcome = 'first' | 'used' | 'local' | 'unavailable'

/**
 * Who knows the proofs that were used: first this process, which refuses at once what it saw itself, and bounds what one key
 * may use; then all replicas, where they share a level. Where that cannot be asked a proof is refused, unless its API says
 * `replay: local`.
 */
export function createReplays(options: ReplaysOptions): ReplaysOf {
  const { shared, metrics, local = createMemoryReplayStore() } = options
  const count = countsOf(metrics)

  async function judge(proof: Proof, mayBeLocal: boolean): Promise<Outcome> {
    // Not within the catch: a key that used too much is refused, whoever else could be asked.
    if (!(await local.isFirst(...proof))) return 'used'
    if (shared === undefined) return 'first'
    try {
      return (await shared.isFirst(...proof)) ? 'first' : 'used'
    } catch (error) {
      if (mayBeLocal && isUnavailable(error)) return 'local'
      throw error
    }
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
