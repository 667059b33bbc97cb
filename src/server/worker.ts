/**
 * One of several processes that serve the same doors; `node:cluster` runs this file. It is told everything by the process
 * that it came from, and asked everything: it has no admin listener, reads no configuration and obeys no signal. What it asks
 * itself is when an exchange may leave, and whether a proof was used.
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

/** What a worker is asked. */
export type WorkerProtocol = {
  /** Rejects when a door cannot be had. */
  readonly open: (what: Opening) => Origins
  /** Told is how many exchanges could leave now, by bucket of the host. */
  readonly snapshot: (what: Readonly<Record<string, number>>) => Snapshot
  readonly ailments: (what: undefined) => readonly string[]
  readonly purge: (what: Purge) => void
  readonly explain: (what: Question) => Explanation
  /** An issuer wants to be left alone. */
  readonly paused: (what: Paused) => void
  /** To serve by another configuration, which was judged. */
  readonly reload: (what: Config) => Outcome
  /** Resolves when it has ended, with what it counted to its end. */
  readonly drain: (what: undefined) => Snapshot
}

export interface Opening {
  readonly config: Config
  readonly level: Level
  /** Its number, for the log. */
  readonly worker: number
  /** So that a token has the same digits in the lines of all. */
  readonly fingerprints: Uint8Array
}

let doors: Doors | undefined
let primary: Primary | undefined
let next: Config | undefined

function opened(): Doors {
  if (doors === undefined) throw new Error('the worker has not begun')
  return doors
}

// A terminal, and whoever stops a group of processes, signals the workers too: what they are to do, they are told.
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

// Node would end it at once: what is in flight is finished first, whatever became of the process that it came from.
cluster.worker?.on('disconnect', () => {
  cluster.worker!.exitedAfterDisconnect = true
  void Promise.resolve(doors?.drain()).finally(() => process.exit(0))
})
