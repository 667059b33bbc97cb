import { hash } from 'node:crypto'
import type { Api } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { createMemoryStore } from '../store/memory.ts'
import { staticClaims } from './claims.ts'
import { formOf } from './form.ts'
import type { Answered } from './introspected.ts'
import { rejectToken } from './jwt.ts'
import { createAllowance } from './allowance.ts'
import type { Verified, Verifier } from './verify.ts'

/**
 * Asks the issuer about a token (RFC 7662, section 2), authenticated as the API's client.
 *
 * @returns the members of the issuer's answer
 * @throws {GatewayError} `exchange_unavailable` where the issuer cannot be asked or its answer makes no sense;
 *   `exchange_misconfigured` where it refused the client. Neither says anything about the token
 */
export type Introspect = (token: string) => Promise<Answered>

export interface IntrospectingOptions {
  readonly api: Api
  readonly introspect: Introspect
  /** Verifies the tokens that are JWTs: about a signed token the issuer need not be asked. */
  readonly jwts: Verifier
}

/** After this time the issuer is asked about a refused token again: a new token may not have reached all its replicas. */
const REFUSED_FOR_MS = 5_000
/** Bounds on refused tokens, kept by digest, with the reason. */
const REFUSED = { maxEntries: 10_000, maxBytes: 8 * 1024 * 1024 }
/** Bounds on the digests of tokens that were good once: questions about these have an allowance of their own. */
const GOOD = { maxEntries: 50_000, maxBytes: 32 * 1024 * 1024 }
/** RFC 7662, section 2.2: `exp` is optional. An issuer that omits it is asked again after this time. */
const UNSAID_LIFE_SECONDS = 60

/**
 * Verifies opaque tokens by asking their issuer. Requests with the same token wait for one answer. Refusals are remembered
 * for five seconds, by the token's SHA-256. Good answers are remembered where verified signatures are (see
 * `authenticate.ts`), so that a revocation is noticed within a minute. Questions about unknown tokens are limited (see
 * `allowance.ts`), and do not count against tokens that were good before. Does NOT ask about JWTs.
 */
export function createIntrospectingVerifier(options: IntrospectingOptions): Verifier {
  const { api, introspect, jwts } = options
  const refused = createMemoryStore<{ readonly detail: string }>(REFUSED)
  const underway = new Map<string, Promise<Verified>>()
  const good = createMemoryStore<object>(GOOD)
  const allowances = { good: createAllowance(), unknown: createAllowance() }

  async function ask(token: string, digest: string): Promise<Verified> {
    const allowance = allowances[good.get(digest) === undefined ? 'unknown' : 'good']
    try {
      const answered = await allowance.spend(() => introspect(token), isActive)
      const verified = verifiedBy(answered, token, api)
      good.set(digest, NOTHING, Math.max(1, verified.claims.exp * 1_000 - Date.now()), 0)
      return { ...verified, epoch: jwts.epoch(verified.issuer) }
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'invalid_token') {
        const { message: detail } = error
        good.delete(digest)
        refused.set(digest, { detail }, REFUSED_FOR_MS, detail.length)
      }
      throw error
    } finally {
      underway.delete(digest)
    }
  }

  return {
    async verify(token) {
      if (formOf(token) !== 'opaque') return jwts.verify(token)
      const digest = hash('sha256', token, 'base64url')
      const known = refused.get(digest)
      if (known !== undefined) rejectToken(known.detail)
      const asked = underway.get(digest) ?? ask(token, digest)
      underway.set(digest, asked)
      return asked
    },
    epoch: jwts.epoch,
  }
}

const NOTHING = {}

function isActive({ active }: Answered): boolean {
  return active === true
}

/** RFC 7662, section 2.2. */
function verifiedBy(
  { active, ...members }: Answered,
  token: string,
  api: Api,
): Omit<Verified, 'epoch'> {
  if (active !== true) rejectToken('the issuer does not know the access token, or no longer')
  const { identifiers } = api.issuer
  const { iss = identifiers[0], exp = Math.floor(Date.now() / 1_000) + UNSAID_LIFE_SECONDS } =
    members
  const issuer = identifiers.find((identifier) => identifier === iss)
  if (issuer === undefined) rejectToken('the "iss" of the answer is not an issuer of this API')
  assertAccessToken(members)
  const claims = staticClaims({ ...members, iss, exp }, api)
  if (Date.now() >= claims.claims.exp * 1_000 + api.clockToleranceMs) {
    rejectToken('the access token has expired')
  }
  return { value: token, issuer, ...claims }
}

/**
 * Refuses all but access tokens. The issuer calls a refresh token active as well, and names its user, but most issuers give
 * it no `token_type` (RFC 6749, section 7.1). Some distinguish their tokens by `token_use` or `typ`.
 */
function assertAccessToken({ token_type: type, token_use: use, typ, cnf }: Answered): void {
  const scheme = typeof type === 'string' ? type.toLowerCase() : undefined
  if (scheme !== 'bearer' && scheme !== 'dpop') {
    rejectToken('the issuer does not say that the token is an access token')
  }
  if (use !== undefined && use !== 'access_token') rejectToken('the token is no access token')
  if (typeof typ === 'string' && !ACCESS_TOKENS.test(typ)) {
    rejectToken('the token is no access token')
  }
  // RFC 9449, section 6.2: the answer about a DPoP token contains the thumbprint of its key.
  const isBound = typeof cnf === 'object' && cnf !== null && 'jkt' in cnf
  if (scheme === 'dpop' && !isBound) rejectToken('the token is bound to a key that nobody tells')
}

/** Values of `typ` in the answers of Keycloak and others. */
const ACCESS_TOKENS = /^(?:bearer|dpop|(?:application\/)?(?:at\+)?jwt)$/i
