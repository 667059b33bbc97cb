import type { Config } from '../config/config.ts'
import { ConfigError, type Fault } from '../config/faults.ts'
import { type Log, masked } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { type Changes, changesBetween, isNothing } from './changes.ts'
import type { Live } from './live.ts'
import { settled } from './restart.ts'

/** What became of a reload. Plain data, which processes may send each other; holds no secret. */
export type Outcome =
  | {
      readonly outcome: 'reloaded' | 'unchanged'
      readonly changes: Changes
      /** The names of options that take effect only after a restart. */
      readonly needsRestart: readonly string[]
    }
  /** The configuration has faults: the former one stays in force. */
  | { readonly outcome: 'refused'; readonly faults: readonly Fault[] }
  /** The configuration could not be read or put to use: the former one stays in force. */
  | { readonly outcome: 'failed'; readonly reason: string }

/** Reads the configuration again, and serves by it from then on. Never rejects. Reloads run one at a time. */
export type Reload = () => Promise<Outcome>

export interface Reloading {
  readonly reload: Reload
  /** What has been wrong since the last reload, in words for an operator. */
  ailments(): readonly string[]
}

export interface ReloadOptions {
  /** Reads the configuration. Undefined: there is nothing to read, and every reload fails. */
  readonly load: (() => Promise<Config>) | undefined
  readonly live: Pick<Live, 'config' | 'swap'>
  readonly log: Log
  readonly metrics: Metrics
}

/**
 * Reads and judges the whole configuration before anything of it is used. One that has faults, or cannot be put to use,
 * changes nothing. Options that need a restart are named, and the rest takes effect.
 */
export function createReload({ load, live, log, metrics }: ReloadOptions): Reloading {
  const first = live.config
  const count = countsOf(metrics)
  let ailments: readonly string[] = []

  async function once(): Promise<Outcome> {
    if (load === undefined) return { outcome: 'failed', reason: 'there is nothing to read' }
    const running = live.config
    const { config, needsRestart } = settled(await load(), { first, running })
    const changes = await changesBetween(running, config)
    if (isNothing(changes)) return { outcome: 'unchanged', changes, needsRestart }
    await live.swap(config)
    return { outcome: 'reloaded', changes, needsRestart }
  }

  async function reload(): Promise<Outcome> {
    const outcome = await once().catch(failure)
    count(outcome)
    ailments = ailmentsOf(outcome)
    log.logger[ailments.length === 0 ? 'info' : 'error'](outcome, 'reload')
    return outcome
  }

  let running: Promise<unknown> = Promise.resolve()
  let next: Promise<Outcome> | undefined
  return {
    // All that ask during a reload get the outcome of one more, which begins after it.
    reload: () =>
      (next ??= running.then(() => {
        next = undefined
        const now = reload()
        running = now
        return now
      })),
    ailments: () => ailments,
  }
}

function failure(error: unknown): Outcome {
  if (error instanceof ConfigError) return { outcome: 'refused', faults: error.faults }
  return { outcome: 'failed', reason: masked(error instanceof Error ? error.message : 'unknown') }
}

function ailmentsOf(outcome: Outcome): readonly string[] {
  switch (outcome.outcome) {
    case 'refused': {
      const { length } = outcome.faults
      const faults = `${length} fault${length === 1 ? '' : 's'}`
      return [`the configuration has ${faults}: the one before it is in force`]
    }
    case 'failed':
      return ['the configuration cannot be loaded: the one before it is in force']
    default:
      return outcome.needsRestart.map((name) => `${name} needs a restart`)
  }
}

function countsOf(metrics: Metrics): (outcome: Outcome) => void {
  const help = 'Reloads of the configuration, by what became of them.'
  const counter = (outcome: Outcome['outcome']) =>
    metrics.counter('behalf_reloads_total', help, { outcome })
  const counts = {
    reloaded: counter('reloaded'),
    unchanged: counter('unchanged'),
    refused: counter('refused'),
    failed: counter('failed'),
  }
  let loadedAt = Date.now()
  let isGood = true
  metrics.sampled(
    'behalf_last_reload_successful',
    'Whether what was read last is in force, 1 or 0: else it is what was read before.',
    () => (isGood ? 1 : 0),
    {},
    'min',
  )
  metrics.sampled(
    'behalf_configuration_loaded_timestamp_seconds',
    'When the configuration in force was read, in seconds since 1970.',
    () => loadedAt / 1_000,
    {},
    'min',
  )
  return ({ outcome }) => {
    counts[outcome].value++
    isGood = outcome === 'reloaded' || outcome === 'unchanged'
    if (isGood) loadedAt = Date.now()
  }
}
