import { randomUUID } from 'node:crypto'
import { SignJWT, type JWTPayload } from 'jose'
import type { Keys } from './keys.ts'
import type { Client, ResourceServer } from './state.ts'

/** RFC 8693, section 4.1: who acts now, and on whose request. */
export interface Actor {
  readonly sub: string
  readonly act?: Actor
}

/** What an access token is to say. */
export interface Issuance {
  readonly client: Client
  readonly server: ResourceServer
  readonly subject: string
  readonly scopes: readonly string[]
  /** What the subject holds at the API, whether it was asked for or not. */
  readonly permissions: readonly string[]
  /** How it was got. An exchange has none. */
  readonly grantType?: 'password' | 'client-credentials' | 'refresh_token'
  readonly actor?: Actor
}

/** Writes and signs an access token in the dialect of its API. */
export type Issue = (issuance: Issuance) => Promise<string>

export interface IssueOptions {
  readonly issuer: string
  readonly keys: Keys
  /** In epoch milliseconds. */
  readonly now: () => number
}

export function createIssue({ issuer, keys, now }: IssueOptions): Issue {
  return (issuance) => {
    const { server, subject, scopes, actor } = issuance
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
    }
    const { key, keyId } = keys.signingKey(server)
    const header = {
      alg: server.signing_alg,
      typ: isRfc9068(server) ? 'at+jwt' : 'JWT',
      ...(keyId === undefined ? {} : { kid: keyId }),
    }
    return new SignJWT(claims).setProtectedHeader(header).sign(key)
  }
}

/** Who asked for it has another name in each dialect, and only one of them says how (Auth0's access token profiles). */
function dialectClaims(issuance: Issuance): JWTPayload {
  const { client, server, grantType, permissions } = issuance
  // Without policies there are no permissions to write, whatever the dialect is called.
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
