import { randomBytes } from 'node:crypto'
import { randomName } from './names.ts'

export type TokenDialect =
  'access_token' | 'access_token_authz' | 'rfc9068_profile' | 'rfc9068_profile_authz'

/** An API, in the shape and under the names of Auth0's Management API v2. */
export interface ResourceServer {
  readonly id: string
  /** The audience of its tokens. */
  readonly identifier: string
  /** Whether it is the tenant's own: its Management API. */
  readonly is_system?: true
  name?: string
  scopes: { value: string; description?: string }[]
  signing_alg: 'RS256' | 'HS256' | 'RS512' | 'PS256'
  /** The HS256 key, as raw UTF-8. */
  signing_secret?: string
  /** In seconds. Default 86 400. */
  token_lifetime: number
  /** Default `access_token`. */
  token_dialect: TokenDialect
  /** Whether users get only the scopes that they hold as permissions. Default false. */
  enforce_policies: boolean
  /** Whether `offline_access` gives a refresh token. Default false. */
  allow_offline_access: boolean
  /** Default false: an exchange for it answers `consent_required`, since nobody is there to be asked. */
  skip_consent_for_verifiable_first_party_clients: boolean
  /** Default: all clients for users, those with a grant for themselves. */
  subject_type_authorization: {
    user: { policy: 'allow_all' | 'deny_all' | 'require_client_grant' }
    client: { policy: 'deny_all' | 'require_client_grant' }
  }
  /** What its tokens are bound to. Default null: to nothing, whatever a client proves. */
  proof_of_possession: ProofOfPossession | null
  /** Whom its tokens are encrypted for. Default: for nobody. */
  token_encryption?: TokenEncryption | null
  /** The client that the API acts as, once there is one. */
  client_id?: string
  /** What its client may exchange, in a tenant of the legacy generation. Default: nothing. */
  token_exchange?: { enabled_subject_token_types: string[] }
  /** What else the Management API was told of it. It is told again, and decides nothing here. */
  settings?: Readonly<Record<string, unknown>>
}

export interface ProofOfPossession {
  /** `mtls` can be set and never met: this tenant has no TLS. */
  mechanism: 'dpop' | 'mtls'
  /** Whether a client without a proof gets nothing. With false it gets a bearer token, and no word about it. */
  required: boolean
  /** Whom `required` is for. Default `all_clients`. */
  required_for?: 'public_clients' | 'all_clients'
}

export interface TokenEncryption {
  format: 'compact-nested-jwe'
  encryption_key: {
    alg: 'RSA-OAEP-256' | 'RSA-OAEP-384' | 'RSA-OAEP-512'
    /** A public key or a certificate. */
    pem: string
    name?: string
    kid?: string
  }
}

export type NewResourceServer = Partial<ResourceServer> & Pick<ResourceServer, 'identifier'>

/** The defaults are those that a real tenant was seen to fill in. */
export function completeResourceServer(given: NewResourceServer): ResourceServer {
  const server: ResourceServer = {
    id: randomBytes(12).toString('hex'),
    scopes: [],
    signing_alg: 'RS256',
    token_lifetime: 86_400,
    token_dialect: 'access_token',
    enforce_policies: false,
    allow_offline_access: false,
    skip_consent_for_verifiable_first_party_clients: false,
    proof_of_possession: null,
    subject_type_authorization: {
      user: { policy: 'allow_all' },
      client: { policy: 'require_client_grant' },
    },
    ...given,
  }
  giveSigningSecret(server)
  return server
}

/** An API that signs by a secret and has none is given one. */
export function giveSigningSecret(server: ResourceServer): void {
  if (server.signing_alg === 'HS256') server.signing_secret ??= randomName(32)
}
