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
  /** The process that this one came from, as one of its workers. Default: it came from none. */
  readonly primary?: Primary | undefined
  /** Where Express mounted the gateway. Default: at the root. */
  readonly mountPath?: () => string
  /** What is there already, and stays when this is closed as long as others use it. Default: nothing. */
  readonly lease?: Lease
}

/** The whole gateway, and what those who run it need to know about it. */
export interface Composed {
  readonly gateway: Gateway
  /** The door for proxies that forward by themselves; undefined where none is configured. */
  readonly forwardAuth: Gateway | undefined
  /** The door for services that only want the issued token; undefined where none is configured. */
  readonly tokenEndpoint: Gateway | undefined
  /**
   * A middleware that goes as far as this for the route of a name, before a handler of somebody's own.
   *
   * @throws {TypeError} no route has the name, or its token is none for handlers
   */
  step(name: string, step: 'authenticate' | 'exchange'): Step
  /** Resolves when what is worth waiting for before the first request is there, or late. */
  readonly started: Promise<void>
  /** What is not well, in words for an operator; empty when everything is. */
  ailments(): readonly string[]
  /**
   * Forgets issued tokens, also those that are on their way.
   *
   * @throws {TypeError} where nothing is named
   */
  purge(what: Purge): void
  readonly explain: Explain
  /** Ends WebSockets well: those that are open, and those that open later. */
  leave(): Promise<void>
  /** Closes it when the last request has ended that it let in; WebSockets are requests. From now on none may come. */
  retire(): Promise<void>
  close(): Promise<void>
}

/** Verified tokens are small and short-lived beside issued ones. */
const VERIFIED_SHARE = 0.25

/** Puts the implementations together. Nobody else knows them all. */
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
  // Key sets are fetched ahead of the first request. Where that fails, the first request tries again.
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

/** The headers of all routes that bring refresh tokens: one that is sent to the wrong route must not reach its upstream. */
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
  // The proxies that ask pass the caller's headers on: `server.trustedProxies` says whose word about certificates counts.
  const tellerOf = createPeerOf(server.trustedProxies)
  return createForwardAuth(stages, {
    // What the original request named is read by the door itself.
    originsOf: createOriginsOf(server.publicOrigins),
    original,
    isTrusted,
    certificateOf: createCertificateOf((socket) => tellerOf(socket).trusted),
    // The asking proxies are hops on the caller's way as well.
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
