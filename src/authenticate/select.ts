import type { Api } from '../config/config.ts'
import { rejectToken, unverifiedClaims } from './jwt.ts'

/**
 * The one API of a route whose token this says it is, by its unverified `iss` and `aud`: only that API's keys and
 * algorithms are tried, and they decide whether it told the truth. A token that would fit two of them is refused, since
 * each would judge and exchange it as another client.
 *
 * @param token a signed token in canonical compact form
 * @throws {GatewayError} `invalid_token`
 */
export function select(token: string, apis: readonly Api[]): Api {
  const [only, ...others] = apis
  if (only !== undefined && others.length === 0) return only
  const { iss, aud } = unverifiedClaims(token)
  const issued = apis.filter(({ issuer }) => issuer.identifiers.some((known) => known === iss))
  if (issued.length === 0) rejectToken('the "iss" claim is not an issuer of an API of this route')
  const [fitting, another] = issued.filter(({ audience }) => isFor(audience, aud))
  if (fitting === undefined) rejectToken('the "aud" claim names no API of this route')
  if (another !== undefined) rejectToken('the "aud" claim names more than one API of this route')
  return fitting
}

/** RFC 7519, section 4.1.3: one or several. */
function isFor(audience: string, aud: unknown): boolean {
  return Array.isArray(aud) ? aud.includes(audience) : aud === audience
}

const names = new WeakMap<readonly Api[], string>()

/**
 * By what name tokens of these APIs are remembered: the same for all routes that take the same APIs. Of a single API its
 * own name, which holds no comma.
 */
export function nameOfAll(apis: readonly Api[]): string {
  const [only] = apis
  if (only !== undefined && apis.length === 1) return only.name
  const known = names.get(apis)
  if (known !== undefined) return known
  const name = apis
    .map((api) => api.name)
    .sort()
    .join(',')
  names.set(apis, name)
  return name
}
