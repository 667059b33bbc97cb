/**
 * One of several processes that serve the same doors; `node:cluster` runs this file. The primary process gives it
 * everything and answers for it: a worker has no admin listener, reads no configuration and obeys no signal. It asks the
 * primary when an exchange may leave, and whether a proof was used.
 */
import cluster from 'node:cluster'
import type { Config } from '../config/config.ts'
import type { Purge } from '../exchange/purge.ts'
import { createLog, type Level, shareFingerprints } from '../log.ts'
import type { Snapshot } from '../metrics.ts'
import { answering, asking } from './channel.ts'
import { tellDefects } from './defects.ts'
import { createDoors, type Doors, type Origins } from './doors.ts'
import type { Question } from './explain.ts'
import type { Explanation } from './explain/report.ts'
import type { HostProtocol, Paused } from './host.ts'
import { createPrimary, type Primary } from './primary.ts'
import type { Outcome } from './reload.ts'

/** What the primary asks a worker. */
export type WorkerProtocol = {
  /** Rejects when a door cannot be opened. */
  readonly open: (what: Opening) => Origins
  /** Given how many exchanges could leave now, by bucket of the host; answers with the worker's metrics. */
  readonly snapshot: (what: Readonly<Record<string, number>>) => Snapshot
  readonly ailments: (what: undefined) => readonly string[]
  readonly purge: (what: Purge) => void
  readonly explain: (what: Question) => Explanation
  /** An issuer wants no exchanges for a while. */
  readonly paused: (what: Paused) => void
  /** Has the worker serve by another configuration, which the primary has checked. */
  readonly reload: (what: Config) => Outcome
  /** Resolves when the worker has drained, with its last metrics. */
  readonly drain: (what: undefined) => Snapshot
}

export interface Opening {
  readonly config: Config
  readonly level: Level
  /** Its number, for the log. */
  readonly worker: number
  /** The key of log fingerprints, so that a token has the same digits in the lines of all workers. */
  readonly fingerprints: Uint8Array
}

let doors: Doors | undefined
let primary: Primary | undefined
let next: Config | undefined

function opened(): Doors {
  if (doors === undefined) throw new Error('the worker has not begun')
  return doors
}

// A terminal, or a supervisor, may signal the whole process group. Workers ignore that: the primary tells them what to do.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)

answering<WorkerProtocol>(process, {
  open({ config, level, worker, fingerprints }) {
    next = config
    shareFingerprints(fingerprints)
    const log = createLog({ level })
    const events = { ...log, logger: log.logger.child({ worker }) }
    tellDefects(events)
    primary = createPrimary(asking<HostProtocol>(process, true), {
      noticed(state) {
        if (state === 'there') events.logger.info('the first process answers again')
        else events.logger.warn('the first process is silent: this worker goes on by itself')
      },
    })
    doors = createDoors(config, { log: events, primary, load: async () => next! })
    return doors.open()
  },
  snapshot(available) {
    primary?.available(available)
    return opened().metrics.snapshot()
  },
  ailments: () => opened().ailments(),
  purge: (what) => opened().purge(what),
  explain: (what) => opened().explain(what),
  paused: (what) => primary?.paused(what),
  reload(config) {
    next = config
    return opened().reload()
  },
  async drain() {
    await opened().drain()
    return opened().metrics.snapshot()
  },
})

// Without this Node would end the worker at once. It finishes its requests first, also when the primary is gone.
cluster.worker?.on('disconnect', () => {
  cluster.worker!.exitedAfterDisconnect = true
  void Promise.resolve(doors?.drain()).finally(() => process.exit(0))
})
