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

/** Where the doors are. */
export interface Origins {
  /** Where callers reach the gateway, for example `http://127.0.0.1:8080`. */
  readonly origin: string
  /** Where proxies ask for tokens; undefined where that door is not configured. */
  readonly forwardAuthOrigin: string | undefined
  /** Where services ask for tokens; undefined where that door is not configured. */
  readonly tokenOrigin: string | undefined
}

/** The gateway of one process at its doors, and what an operator asks of it. */
export interface Doors {
  readonly metrics: Metrics
  /** Whether new requests should come here. */
  ready(): Readiness
  /** What is not well though requests are served, in words for an operator. */
  ailments(): readonly string[]
  purge(what: Purge): void
  readonly explain: Explain
  /** Reads the configuration anew. */
  readonly reload: Reload
  /** What listeners show to those who shake hands. */
  readonly certificates: Certificates
  /** What operators are answered by, as it is now. */
  admin(): AdminConfig
  /** Listens. Rejects when a door cannot be had. */
  open(): Promise<Origins>
  /** Ends them well: readiness first, then idle connections, then what is in flight, each for as long as configured. */
  drain(): Promise<void>
  /** Ends them at once. */
  close(): Promise<void>
}

export interface DoorsOptions {
  readonly log: Log
  /** The process that this one came from, as one of its workers. Default: it came from none. */
  readonly primary?: Primary | undefined
  /** Reads the configuration once more, for reloads. Default: there are none. */
  readonly load?: (() => Promise<Config>) | undefined
}

/** Puts the gateway together, and its doors around it. Nobody is let in before they are opened. */
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
    // Each route says how long its bodies may take.
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
  /** What callers depend on, and is drained. */
  const doors = [traffic, asking, issuing].filter((door) => door !== undefined)

  async function open(): Promise<Origins> {
    // Redis is waited for, though not for long: the other replicas' tokens spare the first requests an exchange.
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

/** A door that is configured no more is shut, though its listener needs a restart to go. */
function whileOpen(gateway: () => Gateway | undefined): Gateway {
  return (request, response) => {
    const behind = gateway()
    if (behind !== undefined) return behind(request, response)
    response.writeHead(404, { 'content-length': 0 }).end()
    return Promise.resolve()
  }
}

/** Rejects when it cannot be had. */
export async function listen(server: Door, { host, port }: Listen): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
}

export function originOf(server: Door): string {
  const { address, family, port } = server.address() as AddressInfo
  const scheme = server instanceof https.Server ? 'https' : 'http'
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
