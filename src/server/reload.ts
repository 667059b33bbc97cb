import type { Config } from '../config/config.ts'
import { ConfigError, type Fault } from '../config/faults.ts'
import { type Log, masked } from '../log.ts'
import { type Changes, changesBetween } from './changes.ts'

/** What became of a reload. Plain data, which processes may send each other; holds no secret. */
export type Outcome =
  | {
      readonly outcome: 'reloaded' | 'unchanged'
      readonly changes: Changes
      /** What of them holds only after a restart. */
      readonly needsRestart: readonly string[]
    }
  /** The configuration has faults: the one before it is in force. */
  | { readonly outcome: 'refused'; readonly faults: readonly Fault[] }
  /** What it takes could not be had: the one before it is in force. */
  | { readonly outcome: 'failed'; readonly reason: string }

/** Reads the configuration anew, and serves by it from then on. Never rejects. One at a time: who comes meanwhile waits. */
export type Reload = () => Promise<Outcome>

export interface ReloadOptions {
  /** Reads it. Absent: there is nothing to read, and every reload fails. */
  readonly load: (() => Promise<Config>) | undefined
  readonly running: Config
  readonly log: Log
}

export function createReload({ load, running, log }: ReloadOptions): Reload {
  async function once(): Promise<Outcome> {
    if (load === undefined) return { outcome: 'failed', reason: 'there is nothing to read' }
    const changes = changesBetween(running, await load())
    const needsRestart = [...changes.added, ...changes.changed, ...changes.removed]
    return { outcome: 'unchanged', changes, needsRestart }
  }

  async function reload(): Promise<Outcome> {
    const outcome = await once().catch(failure)
    const level = outcome.outcome === 'refused' || outcome.outcome === 'failed' ? 'error' : 'info'
    log.logger[level](outcome, 'reload')
    return outcome
  }

  let last: Promise<Outcome> | undefined
  return () => (last = (last ?? Promise.resolve()).then(reload, reload))
}

function failure(error: unknown): Outcome {
  if (error instanceof ConfigError) return { outcome: 'refused', faults: error.faults }
  return { outcome: 'failed', reason: masked(error instanceof Error ? error.message : 'unknown') }
}
