import type { Grant, ProfileName } from './config.ts'

/** What a configuration may ask of a kind of issuer. `exchange/profiles.ts` says what is sent and how answers are judged. */
export interface Manner {
  /** The grants that routes may use. The first is the default. */
  readonly grants: readonly Grant[]
  /** How a client with a secret authenticates, unless `method` says otherwise. */
  readonly secretMethod: 'client_secret_post' | 'client_secret_basic'
  /** How many audiences one exchange may name. */
  readonly audiences: 'none' | 'one' | 'many'
  /** Whether the issuer takes resource indicators (RFC 8707). */
  readonly resources: boolean
  /** Whether an exchange must name its scopes. */
  readonly needsScopes: boolean
  /** Scopes that an exchange cannot ask for. */
  readonly refusedScopes: readonly string[]
  /** Whether the issuer takes an actor token (RFC 8693, section 2.1). */
  readonly delegation: boolean
  /** How an exchange asks for a refresh token beside the access token. Undefined: the issuer gives none. */
  readonly renewedBy: 'scope' | 'type' | undefined
  /** Whose tokens the issuer exchanges. */
  readonly subjects: 'users' | 'all'
  /** Whether the issuer's tokens tell users from clients. */
  readonly tellsSubjects: boolean
  /** The most levels of `act` in a token that the issuer exchanges. Undefined: any number. */
  readonly maxActorDepth: number | undefined
}

const RFC8693: Manner = {
  grants: ['token-exchange', 'refresh-token', 'client-credentials', 'passthrough', 'none'],
  // RFC 6749, section 2.3.1: every issuer must take Basic.
  secretMethod: 'client_secret_basic',
  audiences: 'many',
  resources: true,
  needsScopes: false,
  refusedScopes: [],
  delegation: true,
  renewedBy: 'scope',
  subjects: 'all',
  tellsSubjects: true,
  maxActorDepth: undefined,
}

/** For issuers that redeem a refresh token only for the target that it was obtained for. */
const UNREDEEMED = RFC8693.grants.filter((grant) => grant !== 'refresh-token')

const AUTH0_LEGACY: Manner = {
  ...RFC8693,
  // Auth0 creates clients with this method.
  secretMethod: 'client_secret_post',
  audiences: 'one',
  resources: false,
  delegation: false,
  // The issuer exchanges no tokens of clients.
  subjects: 'users',
}

export const MANNERS: Readonly<Record<ProfileName, Manner>> = {
  // On-Behalf-Of returns no refresh token, and refuses a token with more than three levels of `act`.
  auth0: {
    ...AUTH0_LEGACY,
    refusedScopes: ['offline_access'],
    renewedBy: undefined,
    maxActorDepth: 3,
  },
  'auth0-legacy': AUTH0_LEGACY,
  rfc8693: RFC8693,
  keycloak: {
    ...RFC8693,
    grants: UNREDEEMED,
    resources: false,
    delegation: false,
    renewedBy: 'type',
  },
  entra: {
    grants: ['jwt-bearer', 'refresh-token', 'client-credentials', 'passthrough', 'none'],
    secretMethod: 'client_secret_post',
    audiences: 'none',
    resources: false,
    needsScopes: true,
    refusedScopes: [],
    delegation: false,
    renewedBy: 'scope',
    subjects: 'users',
    tellsSubjects: true,
    maxActorDepth: undefined,
  },
  okta: {
    ...RFC8693,
    grants: UNREDEEMED,
    audiences: 'one',
    resources: false,
    needsScopes: true,
    refusedScopes: ['openid', 'offline_access'],
    delegation: false,
    renewedBy: undefined,
  },
  // Zitadel's machines are users as well.
  zitadel: { ...RFC8693, grants: UNREDEEMED, resources: false, tellsSubjects: false },
}
