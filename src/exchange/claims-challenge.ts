import { parseJsonObject } from '../authenticate/json.ts'
import type { StepUp } from '../errors.ts'

/** In base64 it still leaves room for the other headers in the 4 KiB that some proxies take of an answer. */
const MOST_BYTES = 2_048
const TOKEN_ENDPOINT = /\/oauth2\/v2\.0\/token$/

/**
 * What Microsoft Entra ID asks for where a user has to do something first, as the caller's own client will have to ask for
 * it: the `claims` of the refusal, byte for byte, and where to go with them. Undefined where they are no JSON object
 * (OpenID Connect Core 1.0, section 5.5) or too long to be passed on. Pure.
 *
 * @param tokenEndpoint that refused the exchange. Default: unknown
 */
export function claimsChallenge(claims: unknown, tokenEndpoint = ''): StepUp | undefined {
  if (typeof claims !== 'string' || Buffer.byteLength(claims) > MOST_BYTES) return undefined
  try {
    if (Object.keys(parseJsonObject(claims)).length === 0) return undefined
  } catch {
    return undefined
  }
  if (!TOKEN_ENDPOINT.test(tokenEndpoint)) return { claims }
  return {
    claims,
    authorizationUri: tokenEndpoint.replace(TOKEN_ENDPOINT, '/oauth2/v2.0/authorize'),
  }
}
