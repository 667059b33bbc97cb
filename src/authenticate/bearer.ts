import { GatewayError } from '../errors.ts'

/** What a caller presented with the original request. Each door builds one. */
export interface Presented extends Credentials {
  readonly method: string
  /**
   * The configured origins that the caller can have reached the gateway by. Empty where none is configured, and where the
   * scheme is Bearer: only a proof names an origin.
   */
  readonly origins: readonly string[]
  /** The path of the request target as the caller sees it, canonical. */
  readonly target: string
  /**
   * The SHA-256 of the certificate that the caller showed, in base64url (RFC 8705, section 3.1); undefined where it showed
   * none. Called only for a token that is bound to a certificate.
   *
   * @throws {GatewayError} `invalid_request` where a trusted proxy forwards anything but one certificate
   */
  readonly certificate: () => string | undefined
  /**
   * An object that identifies the request. Where one request is authenticated in several steps, all of them see the same
   * proof, and it is a replay only in another request. Default: each call is a request of its own.
   */
  readonly request?: object | undefined
  /** The caller's address. Called only where requests are limited by address. */
  readonly address?: (() => string) | undefined
}

/** The credentials that a request presents. */
export interface Credentials {
  readonly scheme: 'Bearer' | 'DPoP'
  readonly token: string
  /** The value of the header `DPoP` (RFC 9449, section 4.1), whatever the scheme; undefined where there is none. */
  readonly proof: string | undefined
}

/**
 * Reads the one access token of a request and its proof (RFC 6750, section 2.1; RFC 9449, sections 4.1 and 7.1). It reads
 * the raw header lines, because Node's parsed headers silently drop a second Authorization line. Does NOT look at token and
 * proof themselves, nor for a second token in a form: bodies are streamed, not read.
 *
 * @throws {GatewayError} `missing_token`, or `invalid_request` for a second token or proof, or a malformed header
 */
export function credentials(rawHeaders: readonly string[], query: string): Credentials {
  let authorization: string | undefined
  let proof: string | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!
    if (name.length === 13) {
      if (name.toLowerCase() !== 'authorization') continue
      authorization = once('Authorization', authorization, rawHeaders[index + 1]!)
    } else if (name.length === 4 && name.toLowerCase() === 'dpop') {
      proof = once('DPoP', proof, rawHeaders[index + 1]!)
    }
  }
  // RFC 6750, section 2, allows one way to send the token; section 5.3 none in a URL, which logs and histories keep.
  if (query !== '' && holdsToken(query)) {
    throw new GatewayError('invalid_request', 'access tokens in the query are not accepted')
  }
  if (authorization === undefined) {
    throw new GatewayError('missing_token', 'an access token is needed in the Authorization header')
  }
  return credentialsOf(authorization, proof)
}

function once(name: string, before: string | undefined, value: string): string {
  if (before === undefined) return value
  throw new GatewayError('invalid_request', `there is more than one ${name} header`)
}

const MAY_HOLD_TOKEN = /access_token|%/i

/** Finds `access_token` in any spelling that a server may decode. Some servers separate parameters by `;`, too. */
function holdsToken(query: string): boolean {
  if (!MAY_HOLD_TOKEN.test(query)) return false
  for (const name of new URLSearchParams(query.replaceAll(';', '&')).keys()) {
    if (name.toLowerCase() === 'access_token') return true
  }
  return false
}

function credentialsOf(authorization: string, proof: string | undefined): Credentials {
  const space = authorization.indexOf(' ')
  const scheme = schemeOf(space < 0 ? authorization : authorization.slice(0, space))
  if (scheme === undefined) {
    throw new GatewayError('missing_token', 'the authentication scheme must be Bearer or DPoP')
  }
  const token = space < 0 ? '' : authorization.slice(space + 1)
  if (token === '' || token.includes(' ') || token.includes(',')) {
    throw new GatewayError('invalid_request', 'the Authorization header must hold one access token')
  }
  return { scheme, token, proof }
}

/** RFC 9110, section 11.1: schemes are case-insensitive. */
function schemeOf(written: string): Credentials['scheme'] | undefined {
  const lower = written.toLowerCase()
  return lower === 'bearer' ? 'Bearer' : lower === 'dpop' ? 'DPoP' : undefined
}
