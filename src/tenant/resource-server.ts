import { randomBytes } from 'node:crypto'
import { randomName } from './names.ts'

export type TokenDialect =
  'access_token' | 'access_token_authz' | 'rfc9068_profile' | 'rfc9068_profile_authz'

/** An API, in the shape and under the names of Auth0's Management API v2. */
export interface ResourceServer {
  readonly id: string
  /** The audience of its tokens. */
  readonly identifier: string
  /** Whether it is the tenant's own Management API. */
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
  /** Default false: an exchange for it answers `consent_required`, because no user is present to consent. */
  skip_consent_for_verifiable_first_party_clients: boolean
  /** Default: any client may act for users; for itself a client needs a grant. */
  subject_type_authorization: {
    user: { policy: 'allow_all' | 'deny_all' | 'require_client_grant' }
    client: { policy: 'deny_all' | 'require_client_grant' }
  }
  /** How its tokens are bound. Default null: not at all, even with a proof. */
  proof_of_possession: ProofOfPossession | null
  /** The key that its tokens are encrypted for. Default: none, they are not encrypted. */
  token_encryption?: TokenEncryption | null
  /** The API's own client, once it has one. */
  client_id?: string
  /** What its client may exchange, in a legacy tenant. Default: nothing. */
  token_exchange?: { enabled_subject_token_types: string[] }
  /** Other fields that the Management API was given. It returns them; they have no effect. */
  settings?: Readonly<Record<string, unknown>>
}

export interface ProofOfPossession {
  /** `mtls` can be set, but no client can fulfil it, because this tenant has no TLS. */
  mechanism: 'dpop' | 'mtls'
  /** Whether a client without a proof is refused. If false, it gets a bearer token without a warning. */
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

/** Fills in the defaults that a real tenant was seen to fill in. */
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

/** Gives a secret to an API that signs with one and has none. */
export function giveSigningSecret(server: ResourceServer): void {
  if (server.signing_alg === 'HS256') server.signing_secret ??= randomName(32)
}
