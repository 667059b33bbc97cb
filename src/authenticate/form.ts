import { rejectToken } from './jwt.ts'

/** How a token is written: what can be done with it follows from that. */
export type Form = 'signed' | 'encrypted' | 'opaque'

/**
 * By its looks: a JWT in compact form begins with an object's brace and holds two dots (RFC 7515, section 7.1), or four
 * where it is encrypted (RFC 7516, section 7.1). Whatever looks like one is nothing else, so that nobody gets a broken
 * one looked at in another way. All else means something to its issuer alone.
 */
export function formOf(token: string): Form {
  if (!token.startsWith('ey') && !token.startsWith('ew')) return 'opaque'
  let dots = 0
  for (let at = token.indexOf('.'); at >= 0; at = token.indexOf('.', at + 1)) dots++
  return dots === 2 ? 'signed' : dots === 4 ? 'encrypted' : 'opaque'
}

// As of signed tokens (see `assertCanonical`): the bits that no byte has are zero. Only the tag has a length of its own:
// all that is accepted have 16 bytes, and 12 as initialization vector (RFC 7518, section 5.3).
const CANONICAL_ENCRYPTED =
  /^(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.(?:[\w-]{4})+(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.[\w-]{16}\.(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.[\w-]{21}[AQgw]$/

/**
 * An encrypted token in the only spelling that it may have.
 *
 * @throws {GatewayError} `invalid_token`
 */
export function assertCanonicalEncrypted(token: string): void {
  if (!CANONICAL_ENCRYPTED.test(token)) {
    rejectToken('the access token is not an encrypted JWT in canonical compact form')
  }
}

/** RFC 6750, section 2.1; no issuer makes opaque tokens that are as long as a JWT can be, or short enough to be guessed. */
const OPAQUE = /^[\w\-.~+/]{16,4096}={0,2}$/

/**
 * An opaque token that is worth asking its issuer about.
 *
 * @throws {GatewayError} `invalid_token`
 */
export function assertOpaque(token: string): void {
  if (!OPAQUE.test(token)) rejectToken('the access token is none that an issuer gives')
}
