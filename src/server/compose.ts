import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { createCertificateOf } from '../authenticate/mtls.ts'
import { createOriginsOf } from '../authenticate/origins.ts'
import type { Config } from '../config/config.ts'
import { processesOf } from '../config/processes.ts'
import { publishing } from '../endpoints/protected-resource.ts'
import { createStep, type Step } from '../endpoints/step.ts'
import { createExchange } from '../exchange/exchange.ts'
import type { Purge } from '../exchange/purge.ts'
import { createSavings, type Mean } from '../exchange/savings.ts'
import { createGateway, type Gateway, proxyDoor } from '../gateway.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { createOutbound, type Outbound } from '../outbound.ts'
import { createAddressOf } from '../proxy/address.ts'
import { createPeerOf } from '../proxy/forwarded.ts'
import { createProxy, type ProxyControls } from '../proxy/proxy.ts'
import { createMatch } from '../route/match.ts'
import { createMemoryReplayStore } from '../store/replay.ts'
import { type CountedAdmission, createAdmission, createCounts } from './admission.ts'
import { type Authentication, createAuthentication } from './authentication.ts'
import { createExplain, type Explain } from './explain.ts'
import { showIssuerKeys } from './issuer-keys.ts'
import { createLasting, type Lease } from './lasting.ts'
import { layered } from './layers.ts'
import { watchLoopDelay } from './loop-delay.ts'
import { countPauses, showPaused } from './pauses.ts'
import type { Primary } from './primary.ts'
import { createCallerRates, rateLimited } from './rate-limits.ts'
import { createReplays, type ReplaysOf } from './replays.ts'
import { createRecord } from './record.ts'
import { type Connected, connectRedis } from './redis.ts'
import { createShed, type Shed } from './shed.ts'
import { forwardAuthOf, tokenEndpointOf } from './side-doors.ts'

export interface ComposeOptions {
  readonly log: Log
  readonly metrics: Metrics
  /** The primary process, where this one is one of its workers. Default: it is no worker. */
  readonly primary?: Primary | undefined
  /** Where Express mounted the gateway. Default: at the root. */
  readonly mountPath?: () => string
  /** Parts that exist already, and stay when this is closed as long as others use them. Default: none. */
  readonly lease?: Lease
}

/** The whole gateway, and what the server needs to run it. */
export interface Composed {
  readonly gateway: Gateway
  /** The door for proxies that forward by themselves; undefined where none is configured. */
  readonly forwardAuth: Gateway | undefined
  /** The door for services that only want the issued token; undefined where none is configured. */
  readonly tokenEndpoint: Gateway | undefined
  /**
   * A middleware that takes requests up to this step of the named route, before an application's own handler.
   *
   * @throws {TypeError} no route has the name, or handlers cannot use its token
   */
  step(name: string, step: 'authenticate' | 'exchange'): Step
  /** Resolves when Redis is connected, or is not to be waited for any longer; at once without Redis. */
  readonly started: Promise<void>
  /** What is wrong, in words for an operator; empty when nothing is. */
  ailments(): readonly string[]
  /**
   * Forgets issued tokens, also those that are being exchanged.
   *
   * @throws {TypeError} where nothing is named
   */
  purge(what: Purge): void
  readonly explain: Explain
  /** Closes all WebSockets by a close frame, also those that open later. */
  leave(): Promise<void>
  /** Closes it when the last request that it let in has ended, WebSockets included. It must be given no more requests. */
  retire(): Promise<void>
  close(): Promise<void>
}

/** Puts the implementations together: the only place that imports all of them. */
export function compose(config: Config, options: ComposeOptions): Composed {
  const { log, metrics, primary, mountPath = () => '', lease = createLasting().lease() } = options
  const parts: Parts = { config, log, metrics, lease }
  const outbound = lease.use('outbound', null, createOutbound, (one) => one.close())
  const redis = redisOf(parts)
  const replaysOf = createReplays({
    host: primary?.replays,
    shared: redis?.replays,
    metrics,
    local: lease.use('used proofs', null, () => createMemoryReplayStore()),
  })
  const bytes = bytesOf(config)
  const authentication = authenticationOf(parts, {
    outbound,
    maxBytes: bytes.verified,
    replaysOf,
    redis,
  })
  const proxies = proxiesOf(parts)
  const { proxy } = proxies
  const sent = createExchange({
    tokenEndpointOf: async (issuer, identifier, endpoint) =>
      authentication.metadataOf(issuer)(identifier, endpoint),
    outbound,
  })
  const means = lease.use('means', null, () => new Map<string, Mean>())
  const savings = createSavings(config.issuers, metrics, means)
  const layers = layered(savings.timed(sent), config, {
    maxBytes: bytes.issued,
    metrics,
    primary,
    shared: redis,
    lease,
  })
  const { exchange } = layers
  const record = createRecord(log, metrics, savings)
  const shed = createShed(metrics)
  const admission = admissionOf(parts, shed)
  const match = createMatch(config.routes)
  const authenticate = rateLimited(authentication.authenticate, {
    routes: config.routes,
    processes: processesOf(config.server),
    rates: () => lease.use('rates', null, createCallerRates),
    shed,
  })
  const peerOf = createPeerOf(config.server.trustedProxies)
  const isTrusted = (socket: Socket): boolean => peerOf(socket).trusted
  const ofCallers = {
    originsOf: createOriginsOf(config.server.publicOrigins, isTrusted),
    certificateOf: createCertificateOf(isTrusted),
    addressOf: createAddressOf(config.server.trustedProxies),
    admission,
    record,
  }
  const path = createGateway(
    { match, authenticate, exchange, proxy },
    { ...ofCallers, door: proxyDoor(mountPath) },
  )
  fetchKeys(authentication, log)

  let closed: Promise<void> | undefined
  const close = (): Promise<void> => (closed ??= closeNow())

  async function closeNow(): Promise<void> {
    await proxies.close()
    await sent.close()
    await authentication.close()
    layers.close()
    await lease.release()
  }

  return {
    gateway: publishing(path, config, { record }),
    forwardAuth: forwardAuthOf(config, { match, authenticate, exchange }, { admission, record }),
    step(name, step) {
      const route = config.routes.find((one) => one.name === name)
      if (route === undefined) throw new TypeError(`no route is named ${name}`)
      return createStep({ authenticate, exchange }, { route, step }, ofCallers)
    },
    tokenEndpoint: tokenEndpointOf(
      config,
      { authenticate, exchange },
      { replaysOf, admission, record },
    ),
    started: redis?.started ?? Promise.resolve(),
    ailments: () => [
      ...authentication
        .keySets()
        .filter(([, keys]) => keys.failing())
        .map(([identifier]) => `${identifier} did not give its keys when it was last asked`),
      ...(redis?.isThere === false ? ['redis does not answer: replicas share nothing'] : []),
    ],
    purge: layers.purge,
    explain: createExplain({
      routes: config.routes,
      match,
      // Unlimited: explaining a request is not making it.
      authenticate: authentication.authenticate,
      tokenEndpointOf: (issuer, identifier, endpoint) =>
        authentication.metadataOf(issuer)(identifier, endpoint),
      origins: config.server.publicOrigins,
    }),
    leave: proxies.leave,
    async retire() {
      await admission.emptied()
      await close()
    },
    close,
  }
}

/** What every part is made of. */
interface Parts {
  readonly config: Config
  readonly log: Log
  readonly metrics: Metrics
  readonly lease: Lease
}

/** Verified tokens are small and short-lived beside issued ones. */
const VERIFIED_SHARE = 0.25

/** How `cache.maxBytes` is divided. */
function bytesOf({ cache: { maxBytes } }: Config) {
  const verified = Math.floor(maxBytes * VERIFIED_SHARE)
  return { verified, issued: maxBytes - verified }
}

function redisOf({ config, log, metrics, lease }: Parts): Connected | undefined {
  const { redis } = config.cache
  if (redis === undefined) return undefined
  return lease.use(
    'redis',
    redis,
    () => connectRedis(redis, { log, metrics }),
    (one) => one.close(),
  )
}

interface Surroundings {
  readonly outbound: Outbound
  readonly maxBytes: number
  readonly replaysOf: ReplaysOf
  readonly redis: Connected | undefined
}

function authenticationOf(
  { config, metrics, lease }: Parts,
  { outbound, maxBytes, replaysOf, redis }: Surroundings,
): Authentication {
  const authentication = createAuthentication({
    apis: config.apis,
    outbound,
    lease,
    maxEntries: config.cache.maxEntries,
    maxBytes,
    proofs: {
      replaysOf,
      nonceSecrets: redis?.seals.secrets('DPoP nonce') ?? [
        lease.use('nonce secret', null, () => randomBytes(32)),
      ],
    },
  })
  showIssuerKeys(config.issuers, authentication.keySets(), { metrics, lease })
  return authentication
}

/** Key sets are fetched before the first request. Where that fails, the first request tries again. */
function fetchKeys({ keySets }: Pick<Authentication, 'keySets'>, { logger }: Log): void {
  for (const [identifier, keys] of keySets()) {
    keys.current().catch((error: unknown) => {
      logger.warn({ issuer: identifier, error }, 'the keys cannot be had yet')
    })
  }
}

/** The proxy, and what is done to all proxies there are: those of configurations before may have WebSockets open still. */
function proxiesOf({ config, metrics, lease }: Parts) {
  const proxy = createProxy({
    trustedProxies: config.server.trustedProxies,
    ownedHeaders: ownedHeaders(config),
    keep: (name, make, end) => lease.use('upstream', name, make, end),
    paused: countPauses(metrics),
  })
  showPaused(config.routes, proxy, { metrics, lease })
  const all = lease.use('proxies', null, () => new Set<ProxyControls>())
  all.add(proxy)
  metrics.sampled('behalf_websockets_open', 'WebSockets that are open.', () =>
    [...all].reduce((sum, one) => sum + one.webSockets(), 0),
  )
  return {
    proxy,
    async leave() {
      await Promise.all(Array.from(all, (one) => one.leave()))
    },
    async close() {
      await proxy.close()
      all.delete(proxy)
    },
  }
}

function admissionOf({ config, metrics, lease }: Parts, shed: Shed): CountedAdmission {
  const { limits } = config.server
  const loopDelay = lease.use(
    'loop delay',
    limits.loopDelayMs,
    () => watchLoopDelay(limits.loopDelayMs),
    (one) => one.close(),
  )
  metrics.sampled(
    'behalf_event_loop_delay_seconds',
    'How late the process is, as the median of a quarter of a second.',
    () => loopDelay.ms / 1_000,
    {},
    'max',
  )
  return createAdmission({
    loopDelay,
    limits,
    shed,
    counts: lease.use('counts', null, () => createCounts(metrics)),
  })
}

/** The headers in which callers of any route send refresh tokens: sent to another route, they must not be forwarded. */
function ownedHeaders({ routes }: Config): ReadonlySet<string> | undefined {
  const names = routes.flatMap(({ exchange }) =>
    exchange.grant === 'refresh-token' ? [exchange.refreshTokenHeader] : [],
  )
  return names.length === 0 ? undefined : new Set(names)
}
