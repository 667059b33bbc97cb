import { GatewayError } from '../errors.ts'

// The last character of a segment carries bits that no byte has. RFC 4648, section 3.5: they are zero, or one token
// has many spellings, and each is another key to a cache.
const CANONICAL =
  /^(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?\.(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?$/

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

/** The claims of a token whose signature nobody has checked. */
export function unverifiedClaims(token: string): Readonly<Record<string, unknown>> {
  return jsonObject(token.slice(token.indexOf('.') + 1, token.lastIndexOf('.')))
}

/** The protected header of a token whose signature nobody has checked. */
export function unverifiedHeader(token: string): Readonly<Record<string, unknown>> {
  return jsonObject(token.slice(0, token.indexOf('.')))
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function jsonObject(segment: string): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(Buffer.from(segment, 'base64url')))
  } catch {
    rejectToken('a part of the access token is not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    rejectToken('a part of the access token is not a JSON object')
  }
  return value as Readonly<Record<string, unknown>>
}

export function rejectToken(detail: string, cause?: unknown): never {
  throw new GatewayError('invalid_token', detail, { cause })
}
