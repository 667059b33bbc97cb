import type { Socket } from 'node:net'
import type { Express } from 'express'
import { createCertificateOf } from '../authenticate/mtls.ts'
import type { Config } from '../config/config.ts'
import { createForwardAuth } from '../endpoints/forward-auth.ts'
import { publishing } from '../endpoints/protected-resource.ts'
import { addTokenEndpoint } from '../endpoints/token.ts'
import { createExchange } from '../exchange/exchange.ts'
import type { Purge } from '../exchange/purge.ts'
import { createSavings } from '../exchange/savings.ts'
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
import { createProxy } from '../proxy/proxy.ts'
import { createMatch } from '../route/match.ts'
import { createAdmission } from './admission.ts'
import { createAuthentication } from './authentication.ts'
import { createExplain, type Explain } from './explain.ts'
import { layered } from './layers.ts'
import { watchLoopDelay } from './loop-delay.ts'
import { rateLimited } from './rate-limits.ts'
import { createRecord } from './record.ts'
import { createShed } from './shed.ts'
import { connectRedis } from './redis.ts'

export interface ComposeOptions {
  readonly log: Log
  readonly metrics: Metrics
  /** Where Express mounted the gateway. Default: at the root. */
  readonly mountPath?: () => string
}

/** The whole gateway, and what those who run it need to know about it. */
export interface Composed {
  readonly gateway: Gateway
  /** The door for proxies that forward by themselves; undefined where none is configured. */
  readonly forwardAuth: Gateway | undefined
  /** Adds the door for services that only want the issued token; undefined where none is configured. */
  readonly addTokenEndpoint: ((app: Express) => void) | undefined
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
  close(): Promise<void>
}

/** Verified tokens are small and short-lived beside issued ones. */
const VERIFIED_SHARE = 0.25

/** Puts the implementations together. Nobody else knows them all. */
export function compose(config: Config, options: ComposeOptions): Composed {
  const { log, metrics, mountPath = () => '' } = options
  const outbound = createOutbound()
  const { maxEntries, maxBytes } = config.cache
  const verifiedBytes = Math.floor(maxBytes * VERIFIED_SHARE)
  const authentication = createAuthentication({
    apis: config.apis,
    outbound,
    maxEntries,
    maxBytes: verifiedBytes,
  })
  const proxy = createProxy({
    trustedProxies: config.server.trustedProxies,
    ownedHeaders: ownedHeaders(config),
  })
  const sent = createExchange({
    tokenEndpointOf: async (issuer, identifier, endpoint) =>
      authentication.metadataOf(issuer)(identifier, endpoint),
    outbound,
  })
  const savings = createSavings(config.issuers, metrics)
  const redis = config.cache.redis && connectRedis(config.cache.redis, { log, metrics })
  const layers = layered(savings.timed(sent), config, {
    maxBytes: maxBytes - verifiedBytes,
    metrics,
    shared: redis,
  })
  const { exchange } = layers
  const record = createRecord(log, metrics, savings)
  const loopDelay = watchLoopDelay(config.server.limits.loopDelayMs)
  metrics.sampled(
    'behalf_event_loop_delay_seconds',
    'How late the process is, as the median of a quarter of a second.',
    () => loopDelay.ms / 1_000,
  )
  const shed = createShed(metrics)
  const admission = createAdmission({
    ...{ loopDelay, metrics, limits: config.server.limits },
    shed,
  })
  metrics.sampled('behalf_websockets_open', 'WebSockets that are open.', () => proxy.webSockets())
  const peerOf = createPeerOf(config.server.trustedProxies)
  const certificateOf = createCertificateOf((socket) => peerOf(socket).trusted)
  const match = createMatch(config.routes)
  const authenticate = rateLimited(authentication.authenticate, {
    routes: config.routes,
    replicas: config.server.replicas,
    shed,
  })
  const path = createGateway(
    { match, authenticate, exchange, proxy },
    {
      origins: config.server.publicOrigins,
      certificateOf,
      addressOf: createAddressOf(config.server.trustedProxies),
      door: proxyDoor(mountPath),
      admission,
      record,
    },
  )
  const gateway = publishing(path, config, { record })
  const forwardAuth = forwardAuthOf(
    config,
    { match, authenticate, exchange },
    { admission, record },
  )
  // So that the first request does not wait for what could be known before. Nothing depends on its success.
  for (const [identifier, keys] of authentication.keySets()) {
    keys.current().catch((error: unknown) => {
      log.logger.warn({ issuer: identifier, error }, 'the keys cannot be had yet')
    })
  }

  return {
    gateway,
    forwardAuth,
    addTokenEndpoint: tokenEndpointOf(config, { authenticate, exchange }, { admission, record }),
    started: redis?.started ?? Promise.resolve(),
    ailments: () => [
      ...authentication
        .keySets()
        .filter(([, keys]) => keys.epoch() === '')
        .map(([identifier]) => `the keys of ${identifier} are not known`),
      ...(redis?.isThere === false ? ['redis does not answer: replicas share nothing'] : []),
    ],
    purge: layers.purge,
    explain: createExplain({
      routes: config.routes,
      match,
      // Who asks what would become of a request has not made it.
      authenticate: authentication.authenticate,
      tokenEndpointOf: (issuer, identifier, endpoint) =>
        authentication.metadataOf(issuer)(identifier, endpoint),
      origins: config.server.publicOrigins,
    }),
    leave: () => proxy.leave(),
    close: async () => {
      loopDelay.close()
      await proxy.close()
      await sent.close()
      await authentication.close()
      await outbound.close()
      layers.close()
      await redis?.close()
    },
  }
}

/** Of all routes: who sends a secret to the wrong one has not meant it for the upstream there. */
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
  // Proxies that ask hand the caller's headers on: who is to be believed about certificates is said for that.
  const tellerOf = createPeerOf(server.trustedProxies)
  return createForwardAuth(stages, {
    origins: server.publicOrigins,
    original,
    isTrusted,
    certificateOf: createCertificateOf((socket) => tellerOf(socket).trusted),
    // They stand on the way, too.
    addressOf: createAddressOf([...trustedProxies, ...server.trustedProxies]),
    ...shared,
  })
}

function tokenEndpointOf(
  { endpoints: { token: endpoint }, server }: Config,
  stages: Pick<Stages, 'authenticate' | 'exchange'>,
  shared: Pick<GatewayOptions, 'admission' | 'record'>,
): Composed['addTokenEndpoint'] {
  if (endpoint === undefined) return undefined
  const certificateOf = createCertificateOf(() => false)
  return (app) =>
    addTokenEndpoint(app, stages, {
      endpoint,
      origins: server.publicOrigins,
      certificateOf,
      addressOf: createAddressOf([]),
      ...shared,
    })
}
