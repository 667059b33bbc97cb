import type { Issuer } from '../config/config.ts'
import type { Outbound } from '../outbound.ts'
import { parseJsonObject } from './json.ts'
import { createRefreshed, type Refreshed } from './refreshed.ts'

/** The endpoints of an issuer, as URLs. */
export interface IssuerMetadata {
  readonly jwksUri: string
  readonly tokenEndpoint: string
  /** The token endpoint for clients that show a certificate (RFC 8705, section 5). */
  readonly mutualTlsTokenEndpoint: string
  /** RFC 7662. */
  readonly introspectionEndpoint: string
  readonly mutualTlsIntrospectionEndpoint: string
}

/**
 * Finds an endpoint by the issuer's identifier (its `iss`). Configured endpoints are returned without asking the issuer.
 * Each endpoint is checked by itself, so that an invalid one does not affect the others. Rejects with an Error where the
 * endpoint is missing or invalid, or the issuer cannot be asked.
 */
export type Metadata = (
  identifier: string,
  endpoint: keyof IssuerMetadata,
) => string | Promise<string>

const FRESH_FOR_MS = 10 * 60_000
// Endpoints rarely move, so old ones are better than none: if they have moved, their use fails.
const STALE_FOR_MS = 24 * 60 * 60_000
const COOLDOWN_MS = 1_000

/** Discovers the endpoints that are not configured (OpenID Connect Discovery 1.0; RFC 8414). */
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

/** The option that replaces the discovered endpoint. */
const CONFIGURED = {
  jwksUri: 'jwksUri',
  tokenEndpoint: 'tokenEndpoint',
  mutualTlsTokenEndpoint: 'tokenEndpoint',
  introspectionEndpoint: 'introspectionEndpoint',
  mutualTlsIntrospectionEndpoint: 'introspectionEndpoint',
} as const satisfies Record<keyof IssuerMetadata, keyof Issuer>

/** RFC 8414, section 2. Not every issuer has each of them. */
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
  // RFC 8414, section 3.3: the two must be identical, or else one issuer could speak for another.
  if (metadata['issuer'] !== identifier) throw new Error('the metadata is of another issuer')
  return metadata
}

function openidConfiguration(identifier: string): string {
  return `${identifier.replace(/\/$/, '')}/.well-known/openid-configuration`
}

/** RFC 8414, section 3.1: the well-known part is inserted between the host and the path. */
function authorizationServerMetadata(identifier: string): string {
  const { origin, pathname } = new URL(identifier)
  return `${origin}/.well-known/oauth-authorization-server${pathname.replace(/\/$/, '')}`
}

const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/

/** An issuer elsewhere must not name endpoints on this machine, whose processes may trust each other. */
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
