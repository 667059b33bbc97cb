import { GatewayError } from '../errors.ts'
import { parseJsonObject } from './json.ts'

/** Node's default limit on all headers of a request together. */
const LONGEST = 16_384

// The last character of a segment may carry bits that belong to no byte. RFC 4648, section 3.5: they must be zero, or else
// one token has many spellings, each of which is another cache key.
const CANONICAL =
  /^(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?$/

/**
 * Allows at most 16 384 characters. Checked before any other work on the token, hashing included.
 *
 * @throws {GatewayError} `invalid_token`
 */
export function assertLength(token: string): void {
  if (token.length > LONGEST) rejectToken('the access token is too long')
}

/**
 * Accepts a signed token in compact form (RFC 7515, section 7.1) only in the one canonical spelling.
 *
 * @throws {GatewayError} `invalid_token`
 */
export function assertCanonical(token: string): void {
  if (CANONICAL.test(token)) return
  const segments = token.split('.').length
  rejectToken(
    segments === 5 || segments === 1
      ? 'the access token is opaque or encrypted: request one for this API by its audience'
      : 'the access token is not a JWT in canonical compact form',
  )
}

type Members = Readonly<Record<string, unknown>>

/**
 * The protected header of a canonical token, whose signature has not been checked yet: a JSON object in UTF-8 (RFC 7515,
 * section 5.2) that the upstream cannot read differently (see `parseJson`).
 *
 * @throws {GatewayError} `invalid_token`
 */
export function unverifiedHeader(token: string): Members {
  return jsonObject(token.slice(0, token.indexOf('.')))
}

/** As `unverifiedHeader`, for the claims (RFC 7519, section 7.2). */
export function unverifiedClaims(token: string): Members {
  return jsonObject(token.slice(token.indexOf('.') + 1, token.lastIndexOf('.')))
}

// RFC 8259, section 8.1: JSON begins with no byte order mark. It is kept here, so that the parser refuses it.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function jsonObject(segment: string): Members {
  try {
    return parseJsonObject(utf8.decode(Buffer.from(segment, 'base64url')))
  } catch (cause) {
    rejectToken('a part of the access token is not an unambiguous JSON object', cause)
  }
}

export function rejectToken(detail: string, cause?: unknown): never {
  throw new GatewayError('invalid_token', detail, { cause })
}
