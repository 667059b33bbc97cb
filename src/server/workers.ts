import type { Config } from '../config/config.ts'
import type { Level, Log } from '../log.ts'
import { createMetrics, render, type Snapshot } from '../metrics.ts'
import { createAdmin } from './admin.ts'
import { createCertificates } from './certificates.ts'
import { Crew } from './crew.ts'
import { listen, originOf, type Origins } from './doors.ts'
import { cut } from './drain.ts'
import { joinSnapshots } from './joined.ts'
import { createServer } from './listener.ts'
import { createReload, type Reload } from './reload.ts'

/** A gateway of several processes. */
export interface ServingByWorkers extends Origins {
  readonly adminOrigin: string
  /** Reads the configuration again, for all workers. */
  readonly reload: Reload
  /** Resolves when all workers have ended so often that none is started any more. */
  readonly hopeless: Promise<void>
  /** Ends it without losing requests: readiness first, then all workers, each as configured. */
  drain(): Promise<void>
  /** Ends it at once. */
  close(): Promise<void>
}

export interface WorkersOptions {
  readonly log: Log
  /** The log level of the workers. */
  readonly level: Level
  /** Reads the configuration again, for reloads. Default: every reload fails. */
  readonly load?: (() => Promise<Config>) | undefined
}

/** Metrics of listeners, which primary and workers both have. */
const OF_ALL = /^behalf_certificate_/

/**
 * Starts as many processes as `server.workers` says, which share all doors. The admin listener is in the primary, and
 * answers for all of them. Rejects when a worker cannot be started, or a listener cannot be opened.
 */
export async function serveByWorkers(
  config: Config,
  { log, level, load }: WorkersOptions,
): Promise<ServingByWorkers> {
  const metrics = createMetrics()
  const crew = new Crew(config, { log, level, metrics })
  const certificates = createCertificates({ log, metrics })
  const live = {
    config,
    async swap(next: Config) {
      await crew.swap(next)
      live.config = next
      certificates.use(next)
    },
  }
  const reloading = createReload({ load, live, log, metrics })
  let draining = false

  /** Metrics that the primary has itself are not taken from the workers, except those of listeners. */
  async function snapshot(): Promise<Snapshot> {
    const counted = await crew.snapshot()
    const own = metrics.snapshot()
    const names = new Set(own.map(({ name }) => name).filter((name) => !OF_ALL.test(name)))
    return joinSnapshots([own, counted.filter(({ name }) => !names.has(name))])
  }

  const admin = createServer(
    createAdmin({
      metrics: { render: async () => render(await snapshot()) },
      admin: () => live.config.admin,
      ready: () => (draining ? 'draining' : crew.ready.length > 0 || 'no worker is ready'),
      ailments: async () => [
        ...reloading.ailments(),
        ...certificates.ailments(),
        ...(await crew.ailments()),
      ],
      purge: (what) => crew.all('purge', what),
      explain: (question) => crew.one('explain', question),
      reload: reloading.reload,
    }),
    { tls: config.admin.tls },
  )
  certificates.follow('admin', admin, config)
  async function close(): Promise<void> {
    certificates.close()
    cut(admin)
    crew.close()
    log.flush()
  }
  try {
    const origins = await crew.start()
    await listen(admin, config.admin.listen)
    const adminOrigin = originOf(admin)
    const { origin, forwardAuthOrigin, tokenOrigin } = origins
    const doors = { origin, forward_auth: forwardAuthOrigin, token: tokenOrigin }
    const { workers } = config.server
    log.logger.info({ ...doors, admin: adminOrigin, workers }, 'listening')
    return {
      ...origins,
      adminOrigin,
      reload: reloading.reload,
      hopeless: crew.hopeless,
      async drain() {
        draining = true
        await crew.drain()
        await close()
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
