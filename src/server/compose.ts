import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { createCertificateOf } from '../authenticate/mtls.ts'
import { createOriginsOf } from '../authenticate/origins.ts'
import type { Config } from '../config/config.ts'
import { processesOf } from '../config/processes.ts'
import { createForwardAuth } from '../endpoints/forward-auth.ts'
import { publishing } from '../endpoints/protected-resource.ts'
import { createStep, type Step } from '../endpoints/step.ts'
import { createTokenEndpoint } from '../endpoints/token.ts'
import { createExchange } from '../exchange/exchange.ts'
import type { Purge } from '../exchange/purge.ts'
import { createSavings, type Mean } from '../exchange/savings.ts'
import {
  createGateway,
  proxyDoor,
  type Gateway,
  type GatewayOptions,
  type Stages,
} from '../gateway.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { createOutbound } from '../outbound.ts'
import { createAddressOf } from '../proxy/address.ts'
import { createPeerOf } from '../proxy/forwarded.ts'
import { createProxy, type ProxyControls } from '../proxy/proxy.ts'
import { createMatch } from '../route/match.ts'
import { createMemoryReplayStore } from '../store/replay.ts'
import { createAdmission, createCounts } from './admission.ts'
import { createAuthentication } from './authentication.ts'
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
import { createShed } from './shed.ts'
import { connectRedis } from './redis.ts'

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

/** Verified tokens are small and short-lived beside issued ones. */
const VERIFIED_SHARE = 0.25

/** Puts the implementations together: the only place that imports all of them. */
export function compose(config: Config, options: ComposeOptions): Composed {
  const { log, metrics, mountPath = () => '', lease = createLasting().lease() } = options
  const outbound = lease.use('outbound', null, createOutbound, (one) => one.close())
  const { maxEntries, maxBytes } = config.cache
  const verifiedBytes = Math.floor(maxBytes * VERIFIED_SHARE)
  const { redis: shared } = config.cache
  const redis =
    shared &&
    lease.use(
      'redis',
      shared,
      () => connectRedis(shared, { log, metrics }),
      (one) => one.close(),
    )
  const replaysOf = createReplays({
    ...{ host: options.primary?.replays, shared: redis?.replays, metrics },
    local: lease.use('used proofs', null, () => createMemoryReplayStore()),
  })
  const authentication = createAuthentication({
    apis: config.apis,
    ...{ outbound, lease },
    maxEntries,
    maxBytes: verifiedBytes,
    proofs: {
      replaysOf,
      nonceSecrets: redis?.seals.secrets('DPoP nonce') ?? [
        lease.use('nonce secret', null, () => randomBytes(32)),
      ],
    },
  })
  showIssuerKeys(config.issuers, authentication.keySets(), { metrics, lease })
  const proxy = createProxy({
    trustedProxies: config.server.trustedProxies,
    ownedHeaders: ownedHeaders(config),
    keep: (name, make, end) => lease.use('upstream', name, make, end),
    paused: countPauses(metrics),
  })
  showPaused(config.routes, proxy, { metrics, lease })
  const proxies = lease.use('proxies', null, () => new Set<ProxyControls>())
  proxies.add(proxy)
  const sent = createExchange({
    tokenEndpointOf: async (issuer, identifier, endpoint) =>
      authentication.metadataOf(issuer)(identifier, endpoint),
    outbound,
  })
  const means = lease.use('means', null, () => new Map<string, Mean>())
  const savings = createSavings(config.issuers, metrics, means)
  const layers = layered(savings.timed(sent), config, {
    maxBytes: maxBytes - verifiedBytes,
    metrics,
    primary: options.primary,
    shared: redis,
    lease,
  })
  const { exchange } = layers
  const record = createRecord(log, metrics, savings)
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
  const shed = createShed(metrics)
  const admission = createAdmission({
    ...{ loopDelay, limits, shed },
    counts: lease.use('counts', null, () => createCounts(metrics)),
  })
  metrics.sampled('behalf_websockets_open', 'WebSockets that are open.', () =>
    [...proxies].reduce((sum, one) => sum + one.webSockets(), 0),
  )
  const peerOf = createPeerOf(config.server.trustedProxies)
  const isTrusted = (socket: Socket): boolean => peerOf(socket).trusted
  const certificateOf = createCertificateOf(isTrusted)
  const match = createMatch(config.routes)
  const authenticate = rateLimited(authentication.authenticate, {
    routes: config.routes,
    processes: processesOf(config.server),
    rates: () => lease.use('rates', null, createCallerRates),
    shed,
  })
  const told = {
    originsOf: createOriginsOf(config.server.publicOrigins, isTrusted),
    certificateOf,
    addressOf: createAddressOf(config.server.trustedProxies),
    admission,
    record,
  }
  const path = createGateway(
    { match, authenticate, exchange, proxy },
    { ...told, door: proxyDoor(mountPath) },
  )
  const gateway = publishing(path, config, { record })
  const forwardAuth = forwardAuthOf(
    config,
    { match, authenticate, exchange },
    { admission, record },
  )
  // Key sets are fetched before the first request. Where that fails, the first request tries again.
  for (const [identifier, keys] of authentication.keySets()) {
    keys.current().catch((error: unknown) => {
      log.logger.warn({ issuer: identifier, error }, 'the keys cannot be had yet')
    })
  }

  let closed: Promise<void> | undefined
  const close = (): Promise<void> => (closed ??= closeNow())

  async function closeNow(): Promise<void> {
    await proxy.close()
    proxies.delete(proxy)
    await sent.close()
    await authentication.close()
    layers.close()
    await lease.release()
  }

  return {
    gateway,
    forwardAuth,
    step(name, step) {
      const route = config.routes.find((one) => one.name === name)
      if (route === undefined) throw new TypeError(`no route is named ${name}`)
      return createStep({ authenticate, exchange }, { route, step }, told)
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
    leave: async () => {
      await Promise.all(Array.from(proxies, (one) => one.leave()))
    },
    async retire() {
      await admission.emptied()
      await close()
    },
    close,
  }
}

/** The headers in which callers of any route send refresh tokens: sent to another route, they must not be forwarded. */
function ownedHeaders({ routes }: Config): ReadonlySet<string> | undefined {
  const names = routes.flatMap(({ exchange }) =>
    exchange.grant === 'refresh-token' ? [exchange.refreshTokenHeader] : [],
  )
  return names.length === 0 ? undefined : new Set(names)
}

function forwardAuthOf(
  { endpoints, server }: Config,
  stages: Omit<Stages, 'proxy'>,
  shared: Pick<GatewayOptions, 'admission' | 'record'>,
): Gateway | undefined {
  if (endpoints.forwardAuth === undefined) return undefined
  const { original, trustedProxies } = endpoints.forwardAuth
  const peerOf = createPeerOf(trustedProxies)
  const isTrusted = (socket: Socket): boolean => peerOf(socket).trusted
  // The proxies that ask forward the caller's headers: only `server.trustedProxies` are believed about certificates.
  const tellerOf = createPeerOf(server.trustedProxies)
  return createForwardAuth(stages, {
    // The door itself reads the host of the original request, and gives it.
    originsOf: createOriginsOf(server.publicOrigins),
    original,
    isTrusted,
    certificateOf: createCertificateOf((socket) => tellerOf(socket).trusted),
    // The proxies that ask are hops of the caller's request as well.
    addressOf: createAddressOf([...trustedProxies, ...server.trustedProxies]),
    ...shared,
  })
}

function tokenEndpointOf(
  { endpoints: { token: endpoint }, server }: Config,
  stages: Pick<Stages, 'authenticate' | 'exchange'>,
  {
    replaysOf,
    ...shared
  }: Pick<GatewayOptions, 'admission' | 'record'> & { readonly replaysOf: ReplaysOf },
): Gateway | undefined {
  if (endpoint === undefined) return undefined
  const certificateOf = createCertificateOf(() => false)
  return createTokenEndpoint(stages, {
    endpoint,
    publicOrigins: server.publicOrigins,
    replays: replaysOf(endpoint),
    // The endpoint has one listener, whatever name it is reached by: a proof may name any of the origins.
    originsOf: () => server.publicOrigins,
    certificateOf,
    addressOf: createAddressOf([]),
    ...shared,
  })
}
