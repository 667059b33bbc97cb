import { rejectToken } from './jwt.ts'

/** How a token is written, which decides how it can be verified. */
export type Form = 'signed' | 'encrypted' | 'opaque'

/**
 * Tells the form by the first characters and the dots: a JWT in compact form begins with an encoded brace, and holds two
 * dots (RFC 7515, section 7.1), or four where it is encrypted (RFC 7516, section 7.1). A token that looks like a JWT is only
 * treated as one, even where it is broken. Any other token is opaque: only its issuer can read it.
 */
export function formOf(token: string): Form {
  if (!token.startsWith('ey') && !token.startsWith('ew')) return 'opaque'
  let dots = 0
  for (let at = token.indexOf('.'); at >= 0; at = token.indexOf('.', at + 1)) dots++
  return dots === 2 ? 'signed' : dots === 4 ? 'encrypted' : 'opaque'
}

// As in signed tokens (see `assertCanonical`), bits that belong to no byte are zero. All accepted algorithms have a tag of
// 16 bytes and an initialization vector of 12 (RFC 7518, section 5.3).
const CANONICAL_ENCRYPTED =
  /^(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.(?:[\w-]{4})+(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.[\w-]{16}\.(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.[\w-]{21}[AQgw]$/

/**
 * Accepts an encrypted token only in the one canonical spelling.
 *
 * @throws {GatewayError} `invalid_token`
 */
export function assertCanonicalEncrypted(token: string): void {
  if (!CANONICAL_ENCRYPTED.test(token)) {
    rejectToken('the access token is not an encrypted JWT in canonical compact form')
  }
}

/** RFC 6750, section 2.1. Issuers make no opaque tokens that are as long as JWTs can be, or short enough to be guessed. */
const OPAQUE = /^[\w\-.~+/]{16,4096}={0,2}$/

/**
 * Refuses opaque tokens that no issuer would have made, so that no issuer is asked about them.
 *
 * @throws {GatewayError} `invalid_token`
 */
export function assertOpaque(token: string): void {
  if (!OPAQUE.test(token)) rejectToken('the access token is none that an issuer gives')
}
