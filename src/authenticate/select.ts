import type { Api } from '../config/config.ts'
import { assertCanonicalEncrypted, assertOpaque, formOf } from './form.ts'
import { assertCanonical, rejectToken, unverifiedClaims } from './jwt.ts'

/**
 * Selects the one API of a route that the token can be for. Only its keys and algorithms are tried afterwards. Encrypted and
 * opaque tokens name no API, so at most one API of a route takes each of these forms.
 *
 * @param token in any spelling: only canonical ones pass
 * @throws {GatewayError} `invalid_token`
 */
export function select(token: string, apis: readonly Api[]): Api {
  const form = formOf(token)
  if (form === 'encrypted') {
    const api = apis.find(({ decryptionKeys }) => decryptionKeys !== undefined)
    if (api !== undefined) {
      assertCanonicalEncrypted(token)
      return api
    }
  } else if (form === 'opaque') {
    const api = apis.find(({ introspection }) => introspection === true)
    if (api !== undefined) {
      assertOpaque(token)
      return api
    }
  }
  assertCanonical(token)
  return selectSigned(token, apis.filter(takesSigned))
}

/** An API with encrypted tokens takes no others: one in the clear was decrypted on its way, or never made for the API. */
function takesSigned({ decryptionKeys }: Api): boolean {
  return decryptionKeys === undefined
}

/**
 * Selects by the token's unverified `iss` and `aud`. A token that fits two APIs is refused, because each of them would judge
 * and exchange it as another client.
 */
function selectSigned(token: string, apis: readonly Api[]): Api {
  const [only, ...others] = apis
  if (only === undefined) rejectToken('the access token is not encrypted, as it must be')
  if (others.length === 0) return only
  const { iss, aud } = unverifiedClaims(token)
  const issued = apis.filter(({ issuer }) => issuer.identifiers.some((known) => known === iss))
  if (issued.length === 0) rejectToken('the "iss" claim is not an issuer of an API of this route')
  const [fitting, another] = issued.filter(({ audience }) => isFor(audience, aud))
  if (fitting === undefined) rejectToken('the "aud" claim names no API of this route')
  if (another !== undefined) rejectToken('the "aud" claim names more than one API of this route')
  return fitting
}

/** RFC 7519, section 4.1.3: `aud` is a string or a list. */
function isFor(audience: string, aud: unknown): boolean {
  return Array.isArray(aud) ? aud.includes(audience) : aud === audience
}

const names = new WeakMap<readonly Api[], string>()

/**
 * The part of a cache key that names these APIs: the same for all routes that take the same APIs. For a single API it is the
 * API's name, which holds no comma.
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
