import { GatewayError } from '../errors.ts'
import { parseJsonObject } from './json.ts'

/** More characters than Node reads of all headers together, unless it is told to. */
const LONGEST = 16_384

// The last character of a segment carries bits that no byte has. RFC 4648, section 3.5: they are zero, or one token
// has many spellings, and each is another key to a cache.
const CANONICAL =
  /^(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?$/

/**
 * At most 16 384 characters: it is looked at before anything is spent on the token, hashing it included.
 *
 * @throws {GatewayError} `invalid_token`
 */
export function assertLength(token: string): void {
  if (token.length > LONGEST) rejectToken('the access token is too long')
}

/**
 * A signed token in compact form (RFC 7515, section 7.1), in the only spelling it may have.
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
 * The protected header of a canonical token, before anybody has checked its signature: a JSON object in UTF-8 (RFC 7515,
 * section 5.2), such that whoever reads the token next reads the same (see `parseJson`).
 *
 * @throws {GatewayError} `invalid_token`
 */
export function unverifiedHeader(token: string): Members {
  return jsonObject(token.slice(0, token.indexOf('.')))
}

/** The claims of a canonical token, under the same conditions (RFC 7519, section 7.2). */
export function unverifiedClaims(token: string): Members {
  return jsonObject(token.slice(token.indexOf('.') + 1, token.lastIndexOf('.')))
}

// RFC 8259, section 8.1: a byte order mark is no part of JSON, though some readers drop it.
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
