import type { Issuer } from '../config/config.ts'
import type { Outbound } from '../outbound.ts'
import { parseJsonObject } from './json.ts'
import { createRefreshed, type Refreshed } from './refreshed.ts'

/** Where an issuer's endpoints are. */
export interface IssuerMetadata {
  readonly jwksUri: string
  readonly tokenEndpoint: string
  /** Where clients with a certificate go (RFC 8705, section 5). */
  readonly mutualTlsTokenEndpoint: string
  /** RFC 7662. */
  readonly introspectionEndpoint: string
  readonly mutualTlsIntrospectionEndpoint: string
}

/**
 * By the issuer's identifier (its `iss`). The configuration's own endpoints are known without asking, and what is wrong
 * with one endpoint is nothing to who wants the other. Rejects with an Error while the issuer cannot be asked.
 */
export type Metadata = (
  identifier: string,
  endpoint: keyof IssuerMetadata,
) => string | Promise<string>

const FRESH_FOR_MS = 10 * 60_000
// Endpoints move so rarely that old ones beat none: what is wrong with them shows where they are used.
const STALE_FOR_MS = 24 * 60 * 60_000
const COOLDOWN_MS = 1_000

/** Discovers (OpenID Connect Discovery 1.0; RFC 8414) what the configuration does not say. */
export function createMetadata(issuer: Issuer, outbound: Outbound): Metadata {
  const discovered = new Map(
    issuer.identifiers.map((identifier) => [
      identifier,
      createRefreshed({
        load: () => discover(identifier, outbound),
        freshForMs: FRESH_FOR_MS,
        staleForMs: STALE_FOR_MS,
        cooldownMs: COOLDOWN_MS,
      }),
    ]),
  )
  return (identifier, name) => {
    const found = discovered.get(identifier)
    if (found === undefined) throw new TypeError(`not an identifier of this issuer: ${identifier}`)
    const configured = issuer[CONFIGURED[name]]
    return configured ?? discoveredEndpoint(found, name, identifier)
  }

  async function discoveredEndpoint(
    found: Refreshed<Discovered>,
    name: keyof IssuerMetadata,
    identifier: string,
  ): Promise<string> {
    const metadata = await found.current()
    const mayBePlain = (host: string): boolean =>
      issuer.dangerouslyAllowHttp || (LOOPBACK.test(host) && isOnLoopback(identifier))
    return endpoint(named(metadata, name), mayBePlain)
  }
}

type Discovered = Readonly<Record<string, unknown>>

/** The option that says so instead. */
const CONFIGURED = {
  jwksUri: 'jwksUri',
  tokenEndpoint: 'tokenEndpoint',
  mutualTlsTokenEndpoint: 'tokenEndpoint',
  introspectionEndpoint: 'introspectionEndpoint',
  mutualTlsIntrospectionEndpoint: 'introspectionEndpoint',
} as const satisfies Record<keyof IssuerMetadata, keyof Issuer>

/** RFC 8414, section 2. Each is optional there. */
const MEMBERS = {
  jwksUri: 'jwks_uri',
  tokenEndpoint: 'token_endpoint',
  introspectionEndpoint: 'introspection_endpoint',
} as const

/** RFC 8705, section 5. */
const ALIASES = {
  mutualTlsTokenEndpoint: 'token_endpoint',
  mutualTlsIntrospectionEndpoint: 'introspection_endpoint',
} as const

function named(metadata: Discovered, name: keyof IssuerMetadata): unknown {
  if (name !== 'mutualTlsTokenEndpoint' && name !== 'mutualTlsIntrospectionEndpoint') {
    return metadata[MEMBERS[name]]
  }
  const member = ALIASES[name]
  const { mtls_endpoint_aliases: aliases } = metadata
  const hasAlias = typeof aliases === 'object' && aliases !== null && member in aliases
  return hasAlias ? (aliases as Discovered)[member] : metadata[member]
}

async function discover(identifier: string, outbound: Outbound): Promise<Discovered> {
  let answer = await outbound.fetch(openidConfiguration(identifier))
  if (answer.status === 404) answer = await outbound.fetch(authorizationServerMetadata(identifier))
  if (answer.status !== 200) throw new Error(`discovery was answered ${answer.status}`)
  const metadata: Discovered = parseJsonObject(await answer.text())
  // RFC 8414, section 3.3: identical, or one issuer could speak for another.
  if (metadata['issuer'] !== identifier) throw new Error('the metadata is of another issuer')
  return metadata
}

function openidConfiguration(identifier: string): string {
  return `${identifier.replace(/\/$/, '')}/.well-known/openid-configuration`
}

/** RFC 8414, section 3.1: the well-known part stands between the host and the path. */
function authorizationServerMetadata(identifier: string): string {
  const { origin, pathname } = new URL(identifier)
  return `${origin}/.well-known/oauth-authorization-server${pathname.replace(/\/$/, '')}`
}

const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/

/** One that is elsewhere has nothing to say about what listens on this machine, where neighbours trust each other. */
function isOnLoopback(identifier: string): boolean {
  return LOOPBACK.test(new URL(identifier).hostname)
}

function endpoint(value: unknown, mayBePlain: (host: string) => boolean): string {
  if (typeof value !== 'string' || !URL.canParse(value)) throw new Error('an endpoint is missing')
  const { protocol, hostname } = new URL(value)
  const plain = protocol === 'http:' && mayBePlain(hostname)
  if (protocol !== 'https:' && !plain) throw new Error('an endpoint is not https')
  return value
}
