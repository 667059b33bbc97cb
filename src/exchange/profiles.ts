import type { ProfileName } from '../config/config.ts'
import type { ErrorCode } from '../errors.ts'

export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token'

/** What one kind of issuer expects and means, as data. */
export interface Profile {
  /** The `requested_token_type` that is sent, and that must come back as `issued_token_type`. */
  readonly requestedTokenType: string
  /** Whether an issued token may hold more scopes than were asked for. */
  readonly extraScopes: 'refuse' | 'allow'
  /** Claims that differ between two tokens of one context, beside `exp`, `iat`, `nbf` and `jti`. */
  readonly volatileClaims: readonly string[]
  /** What an OAuth error of the token endpoint means (RFC 6749, section 5.2; RFC 8693, section 2.2.2). */
  readonly refusals: Readonly<Record<string, Refusal>>
}

export type Refusal = Extract<
  ErrorCode,
  | 'invalid_token'
  | 'exchange_denied'
  | 'exchange_misconfigured'
  | 'exchange_unavailable'
  | 'insufficient_user_authentication'
>

const OURS_TO_MEND = {
  invalid_client: 'exchange_misconfigured',
  unauthorized_client: 'exchange_misconfigured',
  unsupported_grant_type: 'exchange_misconfigured',
} as const

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  auth0: {
    requestedTokenType: ACCESS_TOKEN_TYPE,
    extraScopes: 'refuse',
    volatileClaims: [],
    refusals: {
      ...OURS_TO_MEND,
      invalid_grant: 'invalid_token',
      invalid_token: 'invalid_token',
      // Its other meaning beside a malformed request is a chain of actors that is too long.
      invalid_request: 'exchange_denied',
      mfa_required: 'insufficient_user_authentication',
    },
  },
  rfc8693: {
    requestedTokenType: ACCESS_TOKEN_TYPE,
    extraScopes: 'refuse',
    volatileClaims: [],
    refusals: {
      ...OURS_TO_MEND,
      invalid_grant: 'invalid_token',
      // RFC 8693, section 2.2.2: the subject token "is invalid for any reason". We know our request to be well-formed.
      invalid_request: 'invalid_token',
      temporarily_unavailable: 'exchange_unavailable',
    },
  },
}
