import cluster, { type Worker } from 'node:cluster'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config/config.ts'
import { fingerprintsKey, type Level, type Log } from '../log.ts'
import type { Cell, Metrics, Snapshot } from '../metrics.ts'
import { type Ask, asking } from './channel.ts'
import type { Origins } from './doors.ts'
import { HandedConnections } from './handed.ts'
import { createHost } from './host.ts'
import { countsOf, joinSnapshots } from './joined.ts'
import { Respawn } from './respawn.ts'
import type { WorkerProtocol } from './worker.ts'

export interface CrewOptions {
  readonly level: Level
  readonly log: Log
  /** The metrics of the primary process. */
  readonly metrics: Metrics
  /** Makes the restart policy of each slot. Default: `Respawn` with its defaults. */
  readonly respawn?: () => Respawn
}

/** A place for a worker, which outlives the workers in it. */
interface Slot {
  /** From 1. */
  readonly number: number
  readonly respawn: Respawn
  state: 'starting' | 'ready' | 'waiting' | 'given up' | 'ended'
  worker: Worker | undefined
  /** Set while the worker is ready. */
  ask: Ask<WorkerProtocol> | undefined
  /** The last metrics that the worker sent. */
  last: Snapshot
}

/** How long a start may take, in milliseconds: a worker waits for a Redis that does not answer. */
const OPEN_MS = 60_000
/** How long an answer may take, in milliseconds: the worker may be busy. */
const ANSWER_MS = 5_000
/** How long a scrape waits for a worker, in milliseconds: for one that is late its last metrics are used again. */
const SNAPSHOT_MS = 2_000
/** What a drain may take beyond its configured times, in milliseconds. */
const DRAIN_SLACK_MS = 10_000

/**
 * The workers of one `behalf serve`. The primary accepts connections and hands them to the workers in turn, so that each has
 * its share. When a worker ends, only the connections that it has are lost, and another one is started.
 */
export class Crew {
  readonly #log: Log
  readonly #level: Level
  readonly #slots: readonly Slot[]
  readonly #restarts: Cell
  readonly #handed = new HandedConnections()
  readonly #host = createHost({
    tell: (paused) => {
      for (const { ask } of this.#slots) ask?.('paused', paused, ANSWER_MS).catch(() => undefined)
    },
  })
  /** Resolves when no worker is left that would be started again. */
  readonly hopeless: Promise<void>
  #loseHope = (): void => undefined
  #config: Config
  /** What workers that have ended counted. */
  #departed: Snapshot = []
  #ending = false

  constructor(config: Config, options: CrewOptions) {
    const { log, level, metrics, respawn = () => new Respawn() } = options
    this.hopeless = new Promise((resolve) => (this.#loseHope = resolve))
    this.#config = config
    this.#log = log
    this.#level = level
    this.#slots = Array.from({ length: config.server.workers }, (_, index) => ({
      number: index + 1,
      respawn: respawn(),
      ...{ state: 'starting', worker: undefined, ask: undefined, last: [] },
    }))
    this.#restarts = metrics.counter(
      'behalf_worker_restarts_total',
      'Workers that ended by themselves and were started again.',
    )
    const help = 'Workers that take requests.'
    metrics.sampled('behalf_workers_ready', help, () => this.ready.length)
    cluster.setupPrimary({
      exec: fileURLToPath(new URL('worker.js', import.meta.url)),
      args: [],
      // Lines of several processes in one pipe could be mixed up: the primary writes all of them.
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      serialization: 'advanced',
    })
    // When the primary exits at once, its workers end as well.
    process.on('exit', this.#kill)
  }

  /** The numbers of the workers that take requests. */
  get ready(): readonly number[] {
    return this.#slots.filter(({ ask }) => ask !== undefined).map(({ number }) => number)
  }

  /** Starts all workers. Rejects where one cannot be started; `close` then ends the others. */
  async start(): Promise<Origins> {
    const opened = await Promise.all(this.#slots.map((slot) => this.#start(slot)))
    return opened[0]!
  }

  async #start(slot: Slot): Promise<Origins> {
    const worker = cluster.fork()
    const { pid } = worker.process
    slot.state = 'starting'
    slot.worker = worker
    this.#handed.watch(worker)
    this.#watch(slot, worker)
    this.#host.answer(worker.process)
    passLines(worker.process.stdout!, this.#log)
    const ask = asking<WorkerProtocol>(worker.process)
    const config = this.#config
    try {
      const told = { level: this.#level, worker: slot.number, fingerprints: fingerprintsKey() }
      const origins = await ask('open', { config, ...told }, OPEN_MS)
      // A configuration that was read meanwhile reaches this worker, too.
      if (config !== this.#config) await ask('reload', this.#config, ANSWER_MS)
      slot.state = 'ready'
      slot.ask = ask
      this.#log.logger.info({ worker: slot.number, pid }, 'a worker is ready')
      return origins
    } catch (error) {
      worker.process.kill('SIGKILL')
      throw error
    }
  }

  #watch(slot: Slot, worker: Worker): void {
    const startedAt = performance.now()
    const who = { worker: slot.number, pid: worker.process.pid }
    const ended = (how: object): void => {
      this.#log.logger[this.#ending ? 'info' : 'error']({ ...who, ...how }, 'a worker has ended')
      this.#ended(slot, performance.now() - startedAt)
    }
    worker.once('exit', (code, signal) => ended({ code, signal }))
    // A message to a worker that is ending may fail: that is no defect. A worker that never began emits no `exit`.
    worker.on('error', (error) => {
      if (who.pid === undefined) ended({ error })
      else this.#log.logger.warn({ ...who, error }, 'a worker does not hear')
    })
  }

  #ended(slot: Slot, livedMs: number): void {
    this.#departed = joinSnapshots([this.#departed, countsOf(slot.last)])
    slot.last = []
    slot.ask = undefined
    slot.worker = undefined
    slot.state = 'ended'
    if (this.#ending) return
    const { number: worker, respawn } = slot
    const waitMs = respawn.after(livedMs)
    if (waitMs === undefined) {
      slot.state = 'given up'
      const failures = respawn.inARow
      this.#log.logger.fatal({ worker, failures }, 'a worker is not started again')
      if (this.#slots.every(({ state }) => state === 'given up')) this.#loseHope()
      return
    }
    slot.state = 'waiting'
    this.#log.logger.warn({ worker, wait_ms: waitMs }, 'a worker is started again')
    setTimeout(() => this.#again(slot), waitMs)
  }

  #again(slot: Slot): void {
    if (this.#ending || slot.state !== 'waiting') return
    this.#restarts.value++
    this.#start(slot).catch((error: unknown) => {
      this.#log.logger.error({ worker: slot.number, error }, 'a worker cannot be started')
    })
  }

  /** What is wrong with the workers, and what they report themselves. */
  async ailments(): Promise<readonly string[]> {
    const told = await Promise.all(
      this.#slots.map(async ({ number, state, ask, respawn }) => {
        if (ask !== undefined) {
          return ask('ailments', undefined, ANSWER_MS).catch(() => [`worker ${number} is late`])
        }
        const failures = `${respawn.inARow} ended in a row`
        return [
          `worker ${number} is not ready: ${state}${respawn.inARow > 0 ? `, ${failures}` : ''}`,
        ]
      }),
    )
    return [...new Set(told.flat())]
  }

  /** What all workers counted, those that have ended included, and the gauges of the others. */
  async snapshot(): Promise<Snapshot> {
    const available = this.#host.available()
    await Promise.all(
      this.#slots.map(async (slot) => {
        const { ask } = slot
        const last = await ask?.('snapshot', available, SNAPSHOT_MS).catch(() => undefined)
        // A worker that ended meanwhile is in `#departed` already.
        if (last !== undefined && slot.ask === ask) slot.last = last
      }),
    )
    return joinSnapshots([this.#departed, ...this.#slots.map(({ last }) => last)])
  }

  /** Asks every worker that is ready. Rejects where one fails, so that the caller can try again with all. */
  async all<Name extends 'purge'>(
    name: Name,
    what: Parameters<WorkerProtocol[Name]>[0],
  ): Promise<void> {
    const asked = this.#slots.flatMap(({ ask }) => ask ?? [])
    if (asked.length === 0) throw new Error('no worker is ready')
    await Promise.all(asked.map((ask) => ask(name, what, ANSWER_MS)))
  }

  /** Asks any one worker that is ready. */
  async one<Name extends 'explain'>(
    name: Name,
    what: Parameters<WorkerProtocol[Name]>[0],
  ): Promise<ReturnType<WorkerProtocol[Name]>> {
    const ask = this.#slots.find((slot) => slot.ask !== undefined)?.ask
    if (ask === undefined) throw new Error('no worker is ready')
    return ask(name, what, OPEN_MS)
  }

  /**
   * Has all workers serve by another configuration. The first one tries it alone: if it cannot, nothing changes.
   *
   * @throws {Error} the first worker could not
   */
  async swap(config: Config): Promise<void> {
    const [first, ...others] = this.#slots.filter(({ ask }) => ask !== undefined)
    const outcome = await first?.ask?.('reload', config, OPEN_MS)
    if (outcome?.outcome === 'failed') throw new Error(outcome.reason)
    this.#config = config
    await Promise.all(others.map((slot) => this.#follow(slot, config)))
    this.#host.keep(config)
    for (const slot of this.#slots) this.#hope(slot)
  }

  /** Ends a worker that does not take a configuration which another one took: it is started again with it. */
  async #follow({ ask, worker, number }: Slot, config: Config): Promise<void> {
    const outcome = await ask!('reload', config, OPEN_MS).catch(() => undefined)
    if (outcome?.outcome === 'reloaded' || outcome?.outcome === 'unchanged') return
    this.#log.logger.error({ worker: number }, 'a worker did not take the configuration')
    worker?.process.kill('SIGKILL')
  }

  /** Lets a slot start workers again: the new configuration may have mended what ended them. */
  #hope(slot: Slot): void {
    slot.respawn.forget()
    if (slot.state !== 'given up') return
    slot.state = 'waiting'
    this.#again(slot)
  }

  /** Drains all workers, as configured. Those that are late are killed. */
  async drain(): Promise<void> {
    this.#ending = true
    const { delayMs, timeoutMs } = this.#config.server.drain
    const within = delayMs + timeoutMs + DRAIN_SLACK_MS
    await Promise.all(this.#slots.map((slot) => this.#drain(slot, within)))
    this.close()
  }

  async #drain(slot: Slot, withinMs: number): Promise<void> {
    const { ask, worker } = slot
    if (ask === undefined || worker === undefined) return
    const ended = new Promise((resolve) => worker.once('exit', resolve))
    try {
      slot.last = await ask('drain', undefined, withinMs)
      worker.disconnect()
    } catch {
      worker.process.kill('SIGKILL')
    }
    await ended
  }

  /** Kills all workers. */
  close(): void {
    this.#ending = true
    this.#kill()
    process.off('exit', this.#kill)
  }

  readonly #kill = (): void => {
    for (const { worker } of this.#slots) worker?.process.kill('SIGKILL')
  }
}

/** Passes whole lines on as they arrive. */
function passLines(from: Readable, { line }: Log): void {
  let rest: Buffer = Buffer.alloc(0)
  from.on('data', (chunk: Buffer) => {
    const end = chunk.lastIndexOf(10)
    if (end < 0) {
      rest = Buffer.concat([rest, chunk])
      return
    }
    line(Buffer.concat([rest, chunk.subarray(0, end)]).toString('utf8'))
    rest = chunk.subarray(end + 1)
  })
}
