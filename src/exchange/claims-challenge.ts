import { parseJsonObject } from '../authenticate/json.ts'
import type { StepUp } from '../errors.ts'

/** In base64 this leaves room for the other headers within the 4 KiB that some proxies accept as the head of an answer. */
const MOST_BYTES = 2_048
const TOKEN_ENDPOINT = /\/oauth2\/v2\.0\/token$/

/**
 * The step-up that Microsoft Entra ID asks for where a user has to do something first: the `claims` of its refusal, byte for
 * byte, and the authorization endpoint to which the caller's own client takes them. Undefined where the claims are no JSON
 * object (OpenID Connect Core 1.0, section 5.5), are empty, or are too long to be passed on. Pure.
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
