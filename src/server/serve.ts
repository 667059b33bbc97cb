import { once } from 'node:events'
import type { Server, ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Express } from 'express'
import type { Config, Listen } from '../config/config.ts'
import type { Purge } from '../exchange/purge.ts'
import type { Gateway } from '../gateway.ts'
import type { Log } from '../log.ts'
import { createMetrics, type Metrics } from '../metrics.ts'
import { createAdmin } from './admin.ts'
import { compose } from './compose.ts'
import { createApp, createServer, type ServerOptions } from './listener.ts'
import { createReload, type Reload } from './reload.ts'
import { createShed } from './shed.ts'
import { upgrading } from './upgrade.ts'

/** A running gateway. */
export interface Serving {
  /** Where callers reach it, for example `http://127.0.0.1:8080`. */
  readonly origin: string
  readonly adminOrigin: string
  /** Where proxies ask for tokens; undefined where that door is not configured. */
  readonly forwardAuthOrigin: string | undefined
  /** Where services ask for tokens; undefined where that door is not configured. */
  readonly tokenOrigin: string | undefined
  readonly metrics: Metrics
  /** Reads the configuration anew. */
  readonly reload: Reload
  /** Ends it well: readiness first, then idle connections, then what is in flight, each for as long as configured. */
  drain(): Promise<void>
  /** Ends it at once. */
  close(): Promise<void>
}

export interface ServeOptions {
  readonly log: Log
  /** Reads the configuration once more, for reloads. Default: there are none. */
  readonly load?: () => Promise<Config>
}

/** Starts all listeners. Rejects when one of them cannot be had. */
export async function serve(config: Config, { log, load }: ServeOptions): Promise<Serving> {
  const metrics = createMetrics()
  const {
    gateway,
    forwardAuth,
    addTokenEndpoint,
    ailments,
    explain,
    leave,
    started,
    close: closeStages,
    ...composed
  } = compose(config, { log, metrics })
  const purge = (what: Purge): void => {
    composed.purge(what)
    // Whom it was about is nobody's business here.
    log.logger.info({ by: Object.keys(what) }, 'purged')
  }
  let draining = false

  const traffic = serverOf(gateway, {
    tls: config.server.tls,
    upgrade: upgrading(gateway),
    limits: config.server.limits,
    shed: createShed(metrics),
    // Each route says how long its bodies may take.
    requestTimeoutMs: 0,
  })
  const asking = forwardAuth && serverOf(forwardAuth)
  const issuing = addTokenEndpoint && tokenServerOf(addTokenEndpoint)
  /** What callers depend on, and is drained. */
  const doors = [traffic, asking, issuing].filter((server) => server !== undefined)
  const admin = createServer(
    createAdmin({
      metrics,
      token: config.admin.token,
      ready: () => !draining,
      ailments,
      purge,
      explain,
    }),
  )
  try {
    // What replicas share spares the first requests their exchanges, too.
    await started
    await listen(traffic, config.server.listen)
    if (asking) await listen(asking, config.endpoints.forwardAuth!.listen)
    if (issuing) await listen(issuing, config.endpoints.token!.listen)
    await listen(admin, config.admin.listen)
  } catch (error) {
    for (const door of doors) door.close()
    await closeStages()
    throw error
  }
  const origins = {
    origin: originOf(traffic),
    adminOrigin: originOf(admin),
    forwardAuthOrigin: asking && originOf(asking),
    tokenOrigin: issuing && originOf(issuing),
  }
  log.logger.info(
    {
      origin: origins.origin,
      forward_auth: origins.forwardAuthOrigin,
      token: origins.tokenOrigin,
      admin: origins.adminOrigin,
    },
    'listening',
  )

  let closed: Promise<void> | undefined
  const close = (): Promise<void> => (closed ??= closeNow())

  async function closeNow(): Promise<void> {
    for (const server of [...doors, admin]) {
      server.close()
      server.closeAllConnections()
    }
    await closeStages()
    log.flush()
  }

  async function drain(): Promise<void> {
    const { delayMs, timeoutMs } = config.server.drain
    draining = true
    log.logger.info('draining')
    // Balancers still send for a while; each answer tells its connection to end.
    for (const door of doors) {
      for (const event of ['request', 'checkContinue']) {
        door.prependListener(event, (_request, response: ServerResponse) => {
          response.shouldKeepAlive = false
        })
      }
    }
    await sleep(delayMs)
    // Those whose ends do not answer hold us no longer than all the rest.
    void leave()
    await Promise.race([
      Promise.all(doors.map(finished)),
      sleep(timeoutMs, undefined, { ref: false }),
    ])
    await close()
  }

  const reload = createReload({ load, running: config, log })
  return { ...origins, metrics, reload, drain, close }
}

function serverOf(gateway: Gateway, options: Omit<ServerOptions, 'unrouted'> = {}): Server {
  const app = createApp()
  // It answers its own failures. Express would hang another promise on each one that it is given.
  app.use((request, response) => void gateway(request, response))
  return createServer(app, { ...options, unrouted: gateway })
}

function tokenServerOf(addTokenEndpoint: (app: Express) => void): Server {
  const app = createApp()
  addTokenEndpoint(app)
  return createServer(app)
}

async function listen(server: Server, { host, port }: Listen): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
}

function originOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo
  const scheme = server instanceof https.Server ? 'https' : 'http'
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

const SWEEP_EVERY_MS = 100

/** Resolves when the last connection has ended. Node closes those that are idle only when it is asked to. */
async function finished(server: Server): Promise<void> {
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_EVERY_MS)
  try {
    server.close()
    await once(server, 'close')
  } finally {
    clearInterval(sweep)
  }
}
