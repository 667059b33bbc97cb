import { createAuthenticate, type Remembered } from '../authenticate/authenticate.ts'
import { createKeys, type Keys } from '../authenticate/keys.ts'
import { createMetadata, type Metadata } from '../authenticate/metadata.ts'
import { createVerifier } from '../authenticate/verify.ts'
import type { Config, Issuer } from '../config/config.ts'
import { budgeted, createBucket, type Bucket } from '../exchange/budget.ts'
import { cached, kept } from '../exchange/cache.ts'
import { createExchange, type Exchange } from '../exchange/exchange.ts'
import type { IssuedToken } from '../exchange/issued.ts'
import { joined } from '../exchange/join.ts'
import { measured } from '../exchange/measure.ts'
import { createGateway, type Gateway } from '../gateway.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { createOutbound, type Outbound } from '../outbound.ts'
import { createProxy } from '../proxy/proxy.ts'
import { createMatch } from '../route/match.ts'
import { createMemoryStore, type Store } from '../store/memory.ts'
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
  const issued = createMemoryStore<IssuedToken>({ maxEntries, maxBytes: maxBytes - verifiedBytes })
  metrics.sampled('behalf_cache_entries', 'Issued tokens that are kept.', () => issued.size)
  metrics.sampled('behalf_cache_bytes', 'What kept tokens weigh.', () => issued.bytes)

  const verifiers = new Map(
    config.apis.map((api) => [api, createVerifier(api, keyRing.keysOf(api.issuer))]),
  )
  const proxy = createProxy({ trustedProxies: config.server.trustedProxies })
  const exchange = createExchange({
    tokenEndpointOf: async (issuer, identifier) =>
      metadata.get(issuer)!(identifier, 'tokenEndpoint'),
    outbound,
  })
  const gateway = createGateway(
    {
      match: createMatch(config.routes),
      authenticate: createAuthenticate({ verifiers, verified }),
      exchange: layered(exchange, issued, bucketsOf(config, metrics), metrics),
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

/** The order is the design: what is kept is read before anything waits, and only what is really sent is paced. */
function layered(
  exchange: Exchange,
  issued: Store<IssuedToken>,
  buckets: ReadonlyMap<Issuer, Bucket>,
  metrics: Metrics,
): Exchange {
  const paced = budgeted(measured(exchange, metrics), ({ subject }) =>
    buckets.get(subject.api.issuer)!,
  )
  return cached(joined(kept(paced, issued)), issued)
}

function bucketsOf({ issuers, server }: Config, metrics: Metrics): ReadonlyMap<Issuer, Bucket> {
  const buckets = new Map<Issuer, Bucket>()
  for (const issuer of issuers) {
    const { budget } = issuer
    const bucket = createBucket(budget && { ...budget, rate: budget.rate / server.replicas })
    buckets.set(issuer, bucket)
    if (budget === undefined) continue
    const labels = { issuer: issuer.name }
    metrics.sampled(
      'behalf_issuer_budget_available',
      'Exchanges that could leave now.',
      () => bucket.available,
      labels,
    )
  }
  return buckets
}
