import { once } from 'node:events'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import type { AdminConfig, Config, Listen, TlsConfig } from '../config/config.ts'
import type { Purge } from '../exchange/purge.ts'
import { addTokenEndpoint } from '../endpoints/token.ts'
import type { Gateway } from '../gateway.ts'
import type { Log } from '../log.ts'
import { createMetrics, type Metrics } from '../metrics.ts'
import type { Readiness } from './admin.ts'
import { type Certificates, createCertificates } from './certificates.ts'
import { cut, drain } from './drain.ts'
import type { Explain } from './explain.ts'
import { createApp, createServer, type Door, type ServerOptions } from './listener.ts'
import { createLive } from './live.ts'
import type { Primary } from './primary.ts'
import { createReload, type Reload } from './reload.ts'
import { createShed } from './shed.ts'
import { upgrading } from './upgrade.ts'

/** The addresses of the doors. */
export interface Origins {
  /** Where callers reach the gateway, for example `http://127.0.0.1:8080`. */
  readonly origin: string
  /** Where proxies ask for tokens; undefined where that door is not configured. */
  readonly forwardAuthOrigin: string | undefined
  /** Where services ask for tokens; undefined where that door is not configured. */
  readonly tokenOrigin: string | undefined
}

/** The gateway of one process with its doors, and what an operator asks of it. */
export interface Doors {
  readonly metrics: Metrics
  /** Whether new requests should come here. */
  ready(): Readiness
  /** What is wrong though requests are served, in words for an operator. */
  ailments(): readonly string[]
  purge(what: Purge): void
  readonly explain: Explain
  /** Reads the configuration again. */
  readonly reload: Reload
  /** The certificates that its listeners show. */
  readonly certificates: Certificates
  /** The configuration of the admin listener, as it is now. */
  admin(): AdminConfig
  /** Listens. Rejects when a door cannot be opened. */
  open(): Promise<Origins>
  /** Ends them without losing requests: readiness first, then idle connections, then requests in flight, as configured. */
  drain(): Promise<void>
  /** Ends them at once. */
  close(): Promise<void>
}

export interface DoorsOptions {
  readonly log: Log
  /** The primary process, where this one is one of its workers. Default: it is no worker. */
  readonly primary?: Primary | undefined
  /** Reads the configuration again, for reloads. Default: every reload fails. */
  readonly load?: (() => Promise<Config>) | undefined
}

/** Puts the gateway together, with its doors. They are closed until `open` is called. */
export function createDoors(config: Config, { log, load, primary }: DoorsOptions): Doors {
  const metrics = createMetrics()
  const live = createLive(config, { log, metrics, primary })
  const certificates = createCertificates({ log, metrics })
  const reloading = createReload({
    load,
    log,
    metrics,
    live: {
      get config() {
        return live.config
      },
      async swap(next) {
        await live.swap(next)
        certificates.use(next)
      },
    },
  })
  const gateway: Gateway = (request, response) => live.composed.gateway(request, response)
  let draining = false

  const traffic = doorOf(gateway, {
    tls: config.server.tls,
    upgrade: upgrading(gateway),
    limits: config.server.limits,
    shed: createShed(metrics),
    // Each route limits how long its bodies may take.
    requestTimeoutMs: 0,
  })
  metrics.sampled('behalf_connections_open', 'Connections of callers that are open.', () =>
    traffic.openConnections(),
  )
  metrics.sampled(
    'process_resident_memory_bytes',
    'Memory that is held, of all processes that take requests.',
    () => process.memoryUsage.rss(),
  )
  const { forwardAuth, tokenEndpoint } = live.composed
  const tls = { asking: config.endpoints.forwardAuth?.tls, issuing: config.endpoints.token?.tls }
  const asking =
    forwardAuth &&
    doorOf(
      whileOpen(() => live.composed.forwardAuth),
      { tls: tls.asking },
    )
  const issuing =
    tokenEndpoint &&
    tokenDoorOf(
      whileOpen(() => live.composed.tokenEndpoint),
      tls.issuing,
    )
  certificates.follow('server', traffic, config)
  if (asking) certificates.follow('endpoints.forwardAuth', asking, config)
  if (issuing) certificates.follow('endpoints.token', issuing, config)
  /** The doors that are drained. The admin listener is none of them. */
  const doors = [traffic, asking, issuing].filter((door) => door !== undefined)

  async function open(): Promise<Origins> {
    // Waits for Redis, though not for long: with the other replicas' tokens the first requests need no exchange.
    await live.composed.started
    await listen(traffic, config.server.listen)
    if (asking) await listen(asking, config.endpoints.forwardAuth!.listen)
    if (issuing) await listen(issuing, config.endpoints.token!.listen)
    return {
      origin: originOf(traffic),
      forwardAuthOrigin: asking && originOf(asking),
      tokenOrigin: issuing && originOf(issuing),
    }
  }

  let closed: Promise<void> | undefined
  const close = (): Promise<void> => (closed ??= closeNow())

  const closing = new AbortController()

  async function closeNow(): Promise<void> {
    closing.abort()
    certificates.close()
    doors.forEach(cut)
    await live.close()
    log.flush()
  }

  let drained: Promise<void> | undefined

  async function drainAll(): Promise<void> {
    draining = true
    const { leave } = live
    const { signal } = closing
    await drain(doors, { ...live.config.server.drain, leave, logger: log.logger, signal })
    await close()
  }

  return {
    metrics,
    ready: () => (draining ? 'draining' : true),
    ailments: () => [
      ...live.composed.ailments(),
      ...reloading.ailments(),
      ...certificates.ailments(),
    ],
    purge(what) {
      live.composed.purge(what)
      // Not logged: the subject, session or client that was purged.
      log.logger.info({ by: Object.keys(what) }, 'purged')
    },
    explain: (question) => live.composed.explain(question),
    reload: async () =>
      draining ? { outcome: 'failed', reason: 'the gateway is ending' } : reloading.reload(),
    certificates,
    admin: () => live.config.admin,
    open,
    drain: () => (drained ??= drainAll()),
    close,
  }
}

function doorOf(gateway: Gateway, options: Omit<ServerOptions, 'unrouted'> = {}): Door {
  const app = createApp()
  // Not returned to Express, which would attach another promise: the gateway answers its own failures.
  app.use((request, response) => void gateway(request, response))
  return createServer(app, { ...options, unrouted: gateway })
}

function tokenDoorOf(endpoint: Gateway, tls: TlsConfig | undefined): Door {
  const app = createApp()
  addTokenEndpoint(app, endpoint)
  return createServer(app, { tls })
}

/** A door that a reload removed answers 404, because its listener stays until a restart. */
function whileOpen(gateway: () => Gateway | undefined): Gateway {
  return (request, response) => {
    const behind = gateway()
    if (behind !== undefined) return behind(request, response)
    response.writeHead(404, { 'content-length': 0 }).end()
    return Promise.resolve()
  }
}

/** Rejects when the address cannot be had. */
export async function listen(server: Door, { host, port }: Listen): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
}

export function originOf(server: Door): string {
  const { address, family, port } = server.address() as AddressInfo
  const scheme = server instanceof https.Server ? 'https' : 'http'
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
