import { createSecretKey } from 'node:crypto'
import { errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose'
import type { Api } from '../config/config.ts'
import { rejectToken, unverifiedClaims, unverifiedHeader } from './jwt.ts'
import { keysUnavailable, type Keys } from './keys.ts'

/** Checks tokens of one API: their signature and their static claims. */
export interface Verifier {
  /** @throws {GatewayError} `invalid_token`, `keys_unavailable` */
  verify(token: string): Promise<Verified>
  /** Of the keys that an issuer's tokens are verified with now. */
  epoch(issuer: string): string
}

export interface Verified {
  /** Of the keys that verified it. */
  readonly epoch: string
  readonly issuer: string
  readonly claims: JWTPayload & { readonly sub: string; readonly exp: number }
  readonly scopes: readonly string[]
  readonly permissions: readonly string[]
}

/** @param keysOf the keys of an issuer, by its identifier; not called for an API with a signing secret */
export function createVerifier(api: Api, keysOf: (identifier: string) => Keys): Verifier {
  const { verification } = api
  return verification.kind === 'secret'
    ? bySecret(api, verification.secrets)
    : byKeys(api, verification.algorithms, keysOf)
}

function bySecret(api: Api, secrets: readonly string[]): Verifier {
  // Raw UTF-8, as Auth0 uses it: the secret is not base64, even where it looks like it.
  const keys = secrets.map((secret) => createSecretKey(Buffer.from(secret, 'utf8')))
  const options = optionsFor(api, ['HS256'])
  const verify = async (token: string): Promise<Verified> => {
    const identifier = unverifiedIssuer(token, api)
    let failure: unknown
    for (const key of keys) {
      try {
        const { payload } = await jwtVerify(token, key, { ...options, issuer: identifier })
        return checked(payload, api, identifier, '')
      } catch (error) {
        failure = error
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) break
      }
    }
    return rejectVerification(failure)
  }
  return { verify, epoch: () => '' }
}

function byKeys(
  api: Api,
  algorithms: readonly string[],
  keysOf: (identifier: string) => Keys,
): Verifier {
  const sets = new Map(api.issuer.identifiers.map((identifier) => [identifier, keysOf(identifier)]))
  const options = optionsFor(api, algorithms)
  const verify = async (token: string): Promise<Verified> => {
    const identifier = unverifiedIssuer(token, api)
    const keys = sets.get(identifier)!
    let set = await keys.current()
    for (;;) {
      let payload: JWTPayload
      try {
        ;({ payload } = await jwtVerify(token, set.find, { ...options, issuer: identifier }))
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) return rejectByKeys(error)
        const renewed = await keys.renewed()
        if (renewed.epoch === set.epoch) return rejectVerification(error)
        set = renewed
        continue
      }
      return checked(payload, api, identifier, set.epoch)
    }
  }
  return { verify, epoch: (issuer) => sets.get(issuer)?.epoch() ?? '' }
}

function optionsFor(api: Api, algorithms: readonly string[]): JWTVerifyOptions {
  return {
    algorithms: [...algorithms],
    audience: api.audience,
    clockTolerance: api.clockToleranceMs / 1_000,
    requiredClaims: ['exp', 'sub'],
  }
}

/** The header names the kind of token before anything is spent on it, and `iss` says whose keys to use. */
function unverifiedIssuer(token: string, api: Api): string {
  const { typ } = unverifiedHeader(token)
  if (typ !== undefined && (typeof typ !== 'string' || !ACCESS_TOKEN_TYPES.test(typ))) {
    rejectToken('the "typ" header names another kind of token')
  }
  const { iss } = unverifiedClaims(token)
  const identifier = api.issuer.identifiers.find((known) => known === iss)
  return identifier ?? rejectToken('the "iss" claim is not an issuer of this API')
}

/** RFC 9068, section 2.1; a bare JWT is what most issuers still call their access tokens. */
const ACCESS_TOKEN_TYPES = /^(?:application\/)?(?:at\+)?jwt$/i

function checked(payload: JWTPayload, api: Api, issuer: string, epoch: string): Verified {
  const { sub, exp, iat } = payload
  if (typeof sub !== 'string' || sub === '') rejectToken('the "sub" claim must be a string')
  if (typeof exp !== 'number') rejectToken('the "exp" claim must be a number')
  if (iat !== undefined) {
    const soon = (Date.now() + api.clockToleranceMs) / 1_000
    if (typeof iat !== 'number' || iat > soon) rejectToken('the "iat" claim is not in the past')
  }
  // RFC 9449, section 7.1 and RFC 8705, section 3: a bound token without its proof is somebody else's.
  if ('cnf' in payload) rejectToken('the access token is bound to a key that was not proven')
  return {
    epoch,
    issuer,
    claims: { ...payload, sub, exp },
    scopes: [...spaceSeparated(payload['scope'], 'scope'), ...scpOf(payload['scp'])],
    permissions: strings(payload['permissions'], 'permissions'),
  }
}

function scpOf(scp: unknown): readonly string[] {
  return Array.isArray(scp) ? strings(scp, 'scp') : spaceSeparated(scp, 'scp')
}

/** RFC 6749, section 3.3: printable, separated by single spaces, and by nothing else. */
function spaceSeparated(value: unknown, name: string): readonly string[] {
  if (value === undefined || value === '') return []
  if (
    typeof value !== 'string' ||
    !/^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/.test(value)
  ) {
    rejectToken(`the "${name}" claim is not a list of scopes`)
  }
  return value.split(' ')
}

function strings(value: unknown, name: string): readonly string[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || !value.every((one) => typeof one === 'string')) {
    rejectToken(`the "${name}" claim is not a list of strings`)
  }
  return value
}

/** Of a key that is too small, incomplete or private, jose says what no token can cause: the issuer has to mend it. */
function rejectByKeys(error: unknown): never {
  if (!(error instanceof errors.JOSEError) || error instanceof errors.JWKSInvalid) {
    keysUnavailable("the issuer's key cannot be used", error)
  }
  rejectVerification(error)
}

/** A library's error becomes ours. What is neither about the token nor about the keys is a defect. */
function rejectVerification(error: unknown): never {
  if (error instanceof errors.JWTExpired) rejectToken('the access token has expired', error)
  if (error instanceof errors.JWTClaimValidationFailed) {
    rejectToken(`the "${error.claim}" claim is not acceptable`, error)
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    rejectToken('the signature does not match', error)
  }
  if (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys
  ) {
    rejectToken("the signature is of none of the issuer's keys", error)
  }
  if (error instanceof errors.JOSEError) rejectToken('the access token cannot be verified', error)
  throw error
}
