import { randomName } from './names.ts'

export interface RefreshTokenSettings {
  rotation_type: 'rotating' | 'non-rotating'
  expiration_type: 'expiring' | 'non-expiring'
  /** How long the previous token is still accepted after a rotation, in seconds. */
  leeway: number
  /** How long a family of tokens lives, in seconds, if it expires. */
  token_lifetime: number
  /** Ignore `token_lifetime`. Default false. */
  infinite_token_lifetime?: boolean
  /** How long a family of tokens lives unused, in seconds, if it expires. */
  idle_token_lifetime: number
  /** Ignore `idle_token_lifetime`. Default false. */
  infinite_idle_token_lifetime?: boolean
  /**
   * The other APIs that a refresh may name as its `audience` (Multi-Resource Refresh Tokens), each with the scopes that it
   * may ask for. Default none.
   */
  policies?: { audience: string; scope: string[] }[] | null
}

/** A credential other than a secret: a public key, or the subject or fingerprint of a certificate. */
export interface Credential {
  readonly id: string
  readonly credential_type: 'public_key' | 'cert_subject_dn' | 'x509_cert'
  readonly name?: string
  /** The `kid` of assertions that this key signed. Default: its thumbprint (RFC 7638). */
  readonly kid?: string
  readonly alg?: 'RS256' | 'RS384' | 'PS256'
  readonly pem?: string
  readonly subject_dn?: string
  readonly thumbprint_sha256?: string
  readonly created_at: string
  updated_at: string
  expires_at?: string
}

/** How a client authenticates without a secret. The two methods with certificates can be set, but never used without TLS. */
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
   * A client with a secret may use either method with a secret, as at Auth0. Null if
   * `client_authentication_methods` is set.
   */
  token_endpoint_auth_method: 'none' | 'client_secret_post' | 'client_secret_basic' | null
  client_authentication_methods?: AuthenticationMethods
  /** All credentials, whether `client_authentication_methods` names them or not. */
  credentials: Credential[]
  /** On-Behalf-Of needs no entry: `token_exchange` allows it. */
  grant_types: string[]
  /** Whether APIs that skip consent for first parties skip it for this client. Default true. */
  is_first_party: boolean
  /** The API that the client belongs to. Cannot be changed. */
  readonly resource_server_identifier?: string
  token_exchange?: { allow_any_profile_of_type: string[] }
  refresh_token: RefreshTokenSettings
  /** Other fields that the Management API was given. It returns them; they have no effect. */
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
