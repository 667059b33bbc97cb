import { GatewayError } from '../errors.ts'

/** What a caller presented, from the original request. Each door builds one. */
export interface Presented {
  readonly method: string
  /** The origin that the caller reached, from the configuration; undefined where none is configured. */
  readonly origin: string | undefined
  /** The request target as the caller sees it, canonical. */
  readonly target: string
  readonly scheme: 'Bearer'
  readonly token: string
}

/**
 * The one access token of a request, read from its raw header lines (RFC 6750, section 2.1). Node's parsed headers
 * keep the first of two Authorization lines and say nothing about the second. Does NOT look at the token itself, nor
 * for a second token in a form: bodies are streamed, not read.
 *
 * @throws {GatewayError} `missing_token`, or `invalid_request` for a second token or a malformed header
 */
export function bearerToken(rawHeaders: readonly string[], query: string): string {
  let authorization: string | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!
    if (name.length !== 13 || name.toLowerCase() !== 'authorization') continue
    if (authorization !== undefined) {
      throw new GatewayError('invalid_request', 'there is more than one Authorization header')
    }
    authorization = rawHeaders[index + 1]!
  }
  // RFC 6750, section 2: not more than one method; section 5.3: none in a URL, where logs and histories keep it.
  if (query !== '' && holdsToken(query)) {
    throw new GatewayError('invalid_request', 'access tokens in the query are not accepted')
  }
  if (authorization === undefined) {
    throw new GatewayError('missing_token', 'an access token is needed in the Authorization header')
  }
  return tokenOf(authorization)
}

const MAY_HOLD_TOKEN = /access_token|%/i

/** In any spelling that a server may decode to the name; `;` separates parameters for some of them. */
function holdsToken(query: string): boolean {
  if (!MAY_HOLD_TOKEN.test(query)) return false
  for (const name of new URLSearchParams(query.replaceAll(';', '&')).keys()) {
    if (name.toLowerCase() === 'access_token') return true
  }
  return false
}

function tokenOf(authorization: string): string {
  const space = authorization.indexOf(' ')
  const scheme = space < 0 ? authorization : authorization.slice(0, space)
  if (scheme.toLowerCase() !== 'bearer') {
    throw new GatewayError('missing_token', 'the authentication scheme must be Bearer')
  }
  const token = space < 0 ? '' : authorization.slice(space + 1)
  if (token === '' || token.includes(' ') || token.includes(',')) {
    throw new GatewayError('invalid_request', 'the Authorization header must hold one Bearer token')
  }
  return token
}
