import { createAuthenticate, type Remembered } from '../authenticate/authenticate.ts'
import { createKeys, type Keys } from '../authenticate/keys.ts'
import { createMetadata, type Metadata } from '../authenticate/metadata.ts'
import { createVerifier } from '../authenticate/verify.ts'
import type { Config, Issuer } from '../config/config.ts'
import { createExchange } from '../exchange/exchange.ts'
import type { Purge } from '../exchange/purge.ts'
import { createGateway, type Gateway } from '../gateway.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { createOutbound, type Outbound } from '../outbound.ts'
import { createProxy } from '../proxy/proxy.ts'
import { createMatch } from '../route/match.ts'
import { createMemoryStore } from '../store/memory.ts'
import { layered } from './layers.ts'
import { createRecord } from './record.ts'

export interface ComposeOptions {
  readonly log: Log
  readonly metrics: Metrics
  /** Where Express mounted the gateway. Default: at the root. */
  readonly mountPath?: () => string
}

/** The whole gateway, and what those who run it need to know about it. */
export interface Composed {
  readonly gateway: Gateway
  /** What is not well, in words for an operator; empty when everything is. */
  ailments(): readonly string[]
  /**
   * Forgets issued tokens, also those that are on their way.
   *
   * @throws {TypeError} where nothing is named
   */
  purge(what: Purge): void
  close(): Promise<void>
}

/** Verified tokens are small and short-lived beside issued ones. */
const VERIFIED_SHARE = 0.25

/** Puts the implementations together. Nobody else knows them all. */
export function compose(config: Config, options: ComposeOptions): Composed {
  const { log, metrics, mountPath = () => '' } = options
  const outbound = createOutbound()
  const metadata = new Map(
    config.issuers.map((issuer) => [issuer, createMetadata(issuer, outbound)]),
  )
  const keyRing = createKeyRing(metadata, outbound)

  const { maxEntries, maxBytes } = config.cache
  const verifiedBytes = Math.floor(maxBytes * VERIFIED_SHARE)
  const verified = createMemoryStore<Remembered>({ maxEntries, maxBytes: verifiedBytes })

  const verifiers = new Map(
    config.apis.map((api) => [api, createVerifier(api, keyRing.keysOf(api.issuer))]),
  )
  const proxy = createProxy({ trustedProxies: config.server.trustedProxies })
  const sent = createExchange({
    tokenEndpointOf: async (issuer, identifier, endpoint) =>
      metadata.get(issuer)!(identifier, endpoint),
    outbound,
  })
  const { exchange, purge } = layered(sent, config, {
    maxBytes: maxBytes - verifiedBytes,
    metrics,
  })
  const gateway = createGateway(
    {
      match: createMatch(config.routes),
      authenticate: createAuthenticate({ verifiers, verified }),
      exchange,
      proxy,
    },
    { origin: config.server.publicOrigins[0], mountPath, record: createRecord(log, metrics) },
  )
  // So that the first request does not wait for what could be known before. Nothing depends on its success.
  for (const [identifier, keys] of keyRing.all()) {
    keys.current().catch((error: unknown) => {
      log.logger.warn({ issuer: identifier, error }, 'the keys cannot be had yet')
    })
  }

  return {
    gateway,
    ailments: () =>
      keyRing
        .all()
        .filter(([, keys]) => keys.epoch() === '')
        .map(([identifier]) => `the keys of ${identifier} are not known`),
    purge,
    close: async () => {
      await proxy.close()
      await outbound.close()
    },
  }
}

interface KeyRing {
  keysOf(issuer: Issuer): (identifier: string) => Keys
  /** With the identifiers that they are of. */
  all(): readonly (readonly [string, Keys])[]
}

/** One key set for each identifier of each issuer that has a verifier, however many APIs it has. */
function createKeyRing(metadata: ReadonlyMap<Issuer, Metadata>, outbound: Outbound): KeyRing {
  const rings = new Map<Issuer, Map<string, Keys>>()
  return {
    keysOf: (issuer) => (identifier) => {
      const ring = rings.get(issuer) ?? new Map<string, Keys>()
      rings.set(issuer, ring)
      const keys = ring.get(identifier) ?? createKeys(identifier, metadata.get(issuer)!, outbound)
      ring.set(identifier, keys)
      return keys
    },
    all: () => [...rings.values()].flatMap((ring) => [...ring]),
  }
}
