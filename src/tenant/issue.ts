import { randomUUID } from 'node:crypto'
import { SignJWT, type JWTPayload } from 'jose'
import { encrypted } from './encrypt.ts'
import type { Keys } from './keys.ts'
import { Refusal } from './refusal.ts'
import type { Client } from './client.ts'
import type { ResourceServer } from './resource-server.ts'

/** RFC 8693, section 4.1: who acts now, and on whose request. */
export interface Actor {
  readonly sub: string
  readonly act?: Actor
}

/** The content of an access token. */
export interface Issuance {
  readonly client: Client
  readonly server: ResourceServer
  readonly subject: string
  readonly scopes: readonly string[]
  /** The permissions that the subject holds at the API, whether they were asked for or not. */
  readonly permissions: readonly string[]
  /** The `gty` of the token. An exchange has none. */
  readonly grantType?: 'password' | 'client-credentials' | 'refresh_token'
  readonly actor?: Actor
  /** The thumbprint of the key whose possession the client proved (RFC 9449, section 5). */
  readonly proof?: string | undefined
}

/** An access token, and its `token_type`. */
export interface Issued {
  readonly value: string
  readonly type: 'Bearer' | 'DPoP'
}

/**
 * Writes and signs an access token in the dialect of its API, bound and encrypted as that API wants it.
 *
 * @throws {Refusal} `invalid_request` if the token must be bound and the request has no proof
 */
export type Issue = (issuance: Issuance) => Promise<Issued>

export interface IssueOptions {
  readonly issuer: string
  readonly keys: Keys
  /** In epoch milliseconds. */
  readonly now: () => number
}

export function createIssue({ issuer, keys, now }: IssueOptions): Issue {
  return async (issuance) => {
    const { server, subject, scopes, actor } = issuance
    const jkt = boundTo(issuance)
    const issuedAt = Math.floor(now() / 1_000)
    const claims: JWTPayload = {
      iss: issuer,
      sub: subject,
      aud: server.identifier,
      iat: issuedAt,
      exp: issuedAt + server.token_lifetime,
      ...(scopes.length > 0 ? { scope: scopes.join(' ') } : {}),
      ...dialectClaims(issuance),
      ...(actor === undefined ? {} : { act: actor }),
      ...(jkt === undefined ? {} : { cnf: { jkt } }),
    }
    const { key, keyId } = keys.signingKey(server)
    const header = {
      alg: server.signing_alg,
      typ: isRfc9068(server) ? 'at+jwt' : 'JWT',
      ...(keyId === undefined ? {} : { kid: keyId }),
    }
    const signed = await new SignJWT(claims).setProtectedHeader(header).sign(key)
    const value = await encrypted(signed, server)
    return { value, type: jkt === undefined ? 'Bearer' : 'DPoP' }
  }
}

/**
 * Auth0's table: an API without a mechanism ignores proofs; with one, a proof is optional or required. Auth0 does not
 * document the error for a missing proof.
 */
function boundTo({ client, server, proof }: Issuance): string | undefined {
  const { proof_of_possession: wanted } = server
  if (wanted === null) return undefined
  if (wanted.mechanism === 'dpop' && proof !== undefined) return proof
  const isPublic = client.token_endpoint_auth_method === 'none'
  if (wanted.required && (isPublic || wanted.required_for !== 'public_clients')) {
    throw new Refusal('invalid_request', `${server.identifier} requires sender-constrained tokens`)
  }
  return undefined
}

/** The dialects name the client differently, and only one has `gty` (Auth0's access token profiles). */
function dialectClaims(issuance: Issuance): JWTPayload {
  const { client, server, grantType, permissions } = issuance
  // Without policies the token has no permissions, whatever its dialect.
  const holds = server.token_dialect.endsWith('_authz') && server.enforce_policies
  return {
    ...(isRfc9068(server)
      ? { client_id: client.client_id, jti: randomUUID() }
      : { azp: client.client_id, ...(grantType === undefined ? {} : { gty: grantType }) }),
    ...(holds ? { permissions: [...permissions] } : {}),
  }
}

function isRfc9068({ token_dialect: dialect }: ResourceServer): boolean {
  return dialect.startsWith('rfc9068_profile')
}
