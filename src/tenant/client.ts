import { randomName } from './names.ts'

export interface RefreshTokenSettings {
  rotation_type: 'rotating' | 'non-rotating'
  expiration_type: 'expiring' | 'non-expiring'
  /** How long the previous token is tolerated after a rotation, in seconds. */
  leeway: number
  /** How long a family of tokens lives, in seconds, if it expires. */
  token_lifetime: number
  /** Whether `token_lifetime` does not count. Default false. */
  infinite_token_lifetime?: boolean
  /** How long a family of tokens lives unused, in seconds, if it expires. */
  idle_token_lifetime: number
  /** Whether `idle_token_lifetime` does not count. Default false. */
  infinite_idle_token_lifetime?: boolean
  /**
   * The other APIs that a refresh may name as its `audience` (Multi-Resource Refresh Tokens), and what of their scopes.
   * Default none.
   */
  policies?: { audience: string; scope: string[] }[] | null
}

/** What a client proves itself by, other than a secret: a public key, or what its certificate is known by. */
export interface Credential {
  readonly id: string
  readonly credential_type: 'public_key' | 'cert_subject_dn' | 'x509_cert'
  readonly name?: string
  /** Which key signed an assertion. Default: its thumbprint (RFC 7638). */
  readonly kid?: string
  readonly alg?: 'RS256' | 'RS384' | 'PS256'
  readonly pem?: string
  readonly subject_dn?: string
  readonly thumbprint_sha256?: string
  readonly created_at: string
  updated_at: string
  expires_at?: string
}

/** How a client proves itself without a secret. The two by certificate can be set and never met: there is no TLS here. */
export type AuthenticationMethod =
  'private_key_jwt' | 'tls_client_auth' | 'self_signed_tls_client_auth'

export type AuthenticationMethods = {
  [Method in AuthenticationMethod]?: { credentials: { id: string }[] }
}

/**
 * An application, or an API in its role as a client (`app_type: resource_server`), in the shape and under the names of
 * Auth0's Management API v2.
 */
export interface Client {
  readonly client_id: string
  name: string
  client_secret?: string
  app_type: 'spa' | 'regular_web' | 'non_interactive' | 'native' | 'resource_server'
  /**
   * Both methods with a secret are accepted from a client that has one, as Auth0 does. Null where
   * `client_authentication_methods` says it.
   */
  token_endpoint_auth_method: 'none' | 'client_secret_post' | 'client_secret_basic' | null
  client_authentication_methods?: AuthenticationMethods
  /** Those that `client_authentication_methods` names, and any others. */
  credentials: Credential[]
  /** On-Behalf-Of needs no entry: `token_exchange` allows it. */
  grant_types: string[]
  /** Whether nobody is asked for consent by an API that skips it. Default true. */
  is_first_party: boolean
  /** The API that the client is. Cannot be changed. */
  readonly resource_server_identifier?: string
  token_exchange?: { allow_any_profile_of_type: string[] }
  refresh_token: RefreshTokenSettings
  /** What else the Management API was told of it. It is told again, and decides nothing here. */
  settings?: Readonly<Record<string, unknown>>
}

export type NewClient = Partial<Client>

export function completeClient(given: NewClient): Client {
  const client: Client = {
    client_id: randomName(32),
    name: given.client_id ?? 'a client',
    app_type: 'regular_web',
    token_endpoint_auth_method:
      given.client_authentication_methods === undefined ? 'client_secret_post' : null,
    credentials: [],
    grant_types: [],
    is_first_party: true,
    refresh_token: {
      rotation_type: 'non-rotating',
      expiration_type: 'non-expiring',
      leeway: 0,
      token_lifetime: 2_592_000,
      idle_token_lifetime: 1_296_000,
    },
    ...given,
  }
  if (client.token_endpoint_auth_method !== 'none') client.client_secret ??= randomName(64)
  return client
}
