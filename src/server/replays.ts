import type { DpopConfig } from '../config/possession.ts'
import { GatewayError } from '../errors.ts'
import type { Metrics } from '../metrics.ts'
import { createMemoryReplayStore, type ReplayStore, ReplaysUnknown } from '../store/replay.ts'

export interface ReplaysOptions {
  /** Of all workers of this host. Default: there are none. */
  readonly host?: ReplayStore | undefined
  /** What replicas share. Default: nothing. */
  readonly shared?: ReplayStore | undefined
  /** What this process knows. Default: nothing yet. */
  readonly local?: ReplayStore
  readonly metrics: Metrics
}

/** The store for each API, by what it says of proofs, and for the assertions of clients. All of them know the same. */
export type ReplaysOf = (of: Pick<DpopConfig, 'replay'>) => ReplayStore

type Proof = Parameters<ReplayStore['isFirst']>
/** `local`: first as far as was known, and somebody who might know more could not be asked. */
type Outcome = 'first' | 'used' | 'local' | 'unavailable'

/**
 * Who knows the proofs that were used: first this process, which refuses at once what it saw itself, and bounds what one key
 * may use; then all workers of the host; then all replicas, where they share a level. Where one of these cannot be asked a
 * proof is refused, unless its API says `replay: local`; the others are asked all the same.
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
        // A key that used too much is refused, whoever else could be asked.
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
