import type { ProfileName } from '../config/config.ts'
import type { ErrorCode } from '../errors.ts'

export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt'
const REFRESH_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:refresh_token'

/**
 * What one kind of issuer expects and means, as data. Which grants and targets it takes is checked with the configuration
 * (`config/profiles.ts`).
 */
export interface Profile {
  /** The `requested_token_type` of a token exchange; undefined where none is sent. */
  readonly requestedTokenType: string | undefined
  /** What `issued_token_type` may be after a token exchange; undefined stands for an answer without one. */
  readonly issuedTokenTypes: readonly (string | undefined)[]
  /** How an exchange asks for a refresh token as well: by a scope, or by another `requested_token_type`. */
  readonly renewal: { readonly scope: string } | { readonly requestedTokenType: string }
  /** Claims that the issued token and the subject token must both hold, with equal values. */
  readonly sameUser: readonly string[]
  /** Which `iss` the issued token must have: that of the subject token, or any identifier of the issuer. */
  readonly issuedBy: 'the same' | 'any identifier'
  /** The `aud` of the client's own assertions (RFC 7523, section 3). */
  readonly proofFor: 'the issuer' | 'the token endpoint'
  /** The member of an assertion's header that holds the key's id. */
  readonly keyIdMember: 'kid' | 'x5t#S256'
  /** Whether an issued token may hold more scopes than were asked for. */
  readonly extraScopes: 'refuse' | 'allow'
  /** Claims that differ between two tokens of one context, beside `exp`, `iat`, `nbf` and `jti`. */
  readonly volatileClaims: readonly string[]
  /**
   * What an OAuth error of the token endpoint means (RFC 6749, section 5.2; RFC 8693, section 2.2.2). An error that is found
   * nowhere in the profile is the issuer's decision, `exchange_denied`.
   */
  readonly refusals: Readonly<Record<string, Refusal>>
  /** What an error means that `refusals` does not name, by the answer's status. */
  readonly refusalsByStatus: Readonly<Record<number, Refusal>>
  /** Whether a refusal's `claims` say what the user's next token must hold. */
  readonly claimsChallenges: boolean
  /** What the answer's `suberror` means, where it says more than the error. Comes before `refusals`. */
  readonly refusalsBySuberror: Readonly<Record<string, Refusal>>
}

export type Refusal = Extract<
  ErrorCode,
  | 'invalid_token'
  | 'exchange_denied'
  | 'exchange_misconfigured'
  | 'exchange_unavailable'
  | 'insufficient_user_authentication'
>

/** Errors about the gateway's client or its proof, whichever subject token was sent. */
export const OURS_TO_MEND = {
  invalid_client: 'exchange_misconfigured',
  unauthorized_client: 'exchange_misconfigured',
  unsupported_grant_type: 'exchange_misconfigured',
  // RFC 9449, sections 5 and 8. `use_dpop_nonce` gets here only where the answer names no nonce or the proof had it already.
  invalid_dpop_proof: 'exchange_misconfigured',
  use_dpop_nonce: 'exchange_unavailable',
} as const

const RFC8693: Profile = {
  requestedTokenType: ACCESS_TOKEN_TYPE,
  issuedTokenTypes: [ACCESS_TOKEN_TYPE],
  // OpenID Connect Core, section 11.
  renewal: { scope: 'offline_access' },
  sameUser: ['sub'],
  issuedBy: 'the same',
  proofFor: 'the issuer',
  keyIdMember: 'kid',
  extraScopes: 'refuse',
  volatileClaims: [],
  refusals: {
    ...OURS_TO_MEND,
    invalid_grant: 'invalid_token',
    // RFC 8693, section 2.2.2: the subject token "is invalid for any reason". The request itself is known to be well-formed.
    invalid_request: 'invalid_token',
    temporarily_unavailable: 'exchange_unavailable',
  },
  refusalsByStatus: {},
  claimsChallenges: false,
  refusalsBySuberror: {},
}

const AUTH0: Profile = {
  ...RFC8693,
  refusals: {
    ...OURS_TO_MEND,
    access_denied: 'exchange_denied',
    consent_required: 'exchange_denied',
    invalid_grant: 'invalid_token',
    invalid_token: 'invalid_token',
    // Besides a malformed request it means that the chain of actors is too long.
    invalid_request: 'exchange_denied',
    mfa_required: 'insufficient_user_authentication',
  },
  // A bad subject token is answered with 401; the error's name is not documented.
  refusalsByStatus: { 401: 'invalid_token' },
}

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  auth0: AUTH0,
  // Draft 19 of RFC 8693: no type is asked for. Refresh and ID tokens may come back, and are ignored.
  'auth0-legacy': {
    ...AUTH0,
    requestedTokenType: undefined,
    issuedTokenTypes: [undefined, ACCESS_TOKEN_TYPE],
  },
  rfc8693: RFC8693,
  // Default client scopes are added to what was asked for.
  keycloak: {
    ...RFC8693,
    // It refuses `offline_access` in an exchange, and answers this type with a refresh token and an access token.
    renewal: { requestedTokenType: REFRESH_TOKEN_TYPE },
    extraScopes: 'allow',
  },
  entra: {
    ...RFC8693,
    requestedTokenType: undefined,
    issuedTokenTypes: [undefined],
    // `sub` differs for each application.
    sameUser: ['oid', 'tid'],
    // The target decides the version of its tokens, and with it their `iss`.
    issuedBy: 'any identifier',
    proofFor: 'the token endpoint',
    keyIdMember: 'x5t#S256',
    // Scopes are asked for by URI, and come back by name.
    extraScopes: 'allow',
    volatileClaims: ['uti', 'aio', 'rh'],
    refusals: {
      ...OURS_TO_MEND,
      invalid_grant: 'invalid_token',
      interaction_required: 'insufficient_user_authentication',
      consent_required: 'exchange_denied',
      // Entra means a request that no user can mend.
      invalid_request: 'exchange_misconfigured',
      invalid_resource: 'exchange_misconfigured',
      temporarily_unavailable: 'exchange_unavailable',
    },
    claimsChallenges: true,
    refusalsBySuberror: { consent_required: 'exchange_denied' },
  },
  okta: {
    ...RFC8693,
    requestedTokenType: undefined,
    proofFor: 'the token endpoint',
    extraScopes: 'allow',
  },
  // Its access tokens are opaque unless a JWT is asked for, and an opaque token cannot be checked.
  zitadel: {
    ...RFC8693,
    requestedTokenType: JWT_TYPE,
    issuedTokenTypes: [JWT_TYPE],
  },
}
