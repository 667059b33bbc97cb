import type { Grant, ProfileName } from './config.ts'

/** What a configuration may say of a kind of issuer. What is sent and what comes back stands in `exchange/profiles.ts`. */
export interface Manner {
  /** What its token endpoint takes. The first is the default. */
  readonly grants: readonly Grant[]
  /** How a client that has a secret authenticates unless it says so. */
  readonly secretMethod: 'client_secret_post' | 'client_secret_basic'
  /** How many audiences one exchange may name. */
  readonly audiences: 'none' | 'one' | 'many'
  /** Whether it knows resource indicators (RFC 8707). */
  readonly resources: boolean
  /** Whether an exchange must name its scopes. */
  readonly needsScopes: boolean
  /** Scopes that an exchange cannot ask for. */
  readonly refusedScopes: readonly string[]
  /** Whether it takes an actor token (RFC 8693, section 2.1). */
  readonly delegation: boolean
  /** By what an exchange asks for a refresh token beside the access token. Undefined: none is given. */
  readonly renewedBy: 'scope' | 'type' | undefined
  /** Whose tokens it exchanges. */
  readonly subjects: 'users' | 'all'
  /** Whether its tokens tell users from clients. */
  readonly tellsSubjects: boolean
  /** The most levels of `act` that a token may have which it exchanges. */
  readonly maxActorDepth: number | undefined
}

const RFC8693: Manner = {
  grants: ['token-exchange', 'refresh-token', 'client-credentials', 'passthrough', 'none'],
  // RFC 6749, section 2.3.1: every issuer takes Basic.
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

/** Of issuers that give for a refresh token what it was obtained for, and nothing for another target. */
const UNREDEEMED = RFC8693.grants.filter((grant) => grant !== 'refresh-token')

const AUTH0_LEGACY: Manner = {
  ...RFC8693,
  // Auth0's clients are made for POST.
  secretMethod: 'client_secret_post',
  audiences: 'one',
  resources: false,
  delegation: false,
  // On-Behalf-Of is for a user.
  subjects: 'users',
}

export const MANNERS: Readonly<Record<ProfileName, Manner>> = {
  // On-Behalf-Of answers no refresh token, and takes no token with four actors or more.
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
  // Its machines are users, too.
  zitadel: { ...RFC8693, grants: UNREDEEMED, resources: false, tellsSubjects: false },
}
