import { createPublicKey, hash } from 'node:crypto'
import type { CallerKey } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { isSigned } from './jws.ts'
import { assertCanonical, unverifiedClaims, unverifiedHeader } from './jwt.ts'

type Members = Readonly<Record<string, unknown>>

/** A JWT by which a client authenticates (RFC 7523, section 2.2). Not verified yet. */
export interface Assertion {
  /** In canonical compact form. */
  readonly token: string
  readonly header: Members
  readonly claims: Members
}

/** One use of an assertion, for a replay store, which says whether it is the first (see `store/replay.ts`). */
export interface AssertionUse {
  readonly name: string
  /** When the assertion is no longer accepted, in epoch milliseconds. */
  readonly until: number
  /** The client. The store limits how much each holder may use. */
  readonly holder: string
}

/**
 * Checks that a client signed an assertion for this token endpoint (RFC 7523, section 3; OpenID Connect Core, section 9).
 * Does NOT check whether the assertion was used before: whoever admits the client asks a replay store, by the returned use.
 *
 * @throws {GatewayError} `invalid_request`; the message is for the log, and holds nothing of the assertion
 */
export type CheckAssertion = (assertion: Assertion) => AssertionUse

export interface CheckAssertionOptions {
  readonly clientId: string
  readonly keys: readonly CallerKey[]
  /** The values that `aud` may have, compared as text. */
  readonly audiences: readonly string[]
  /** How far clocks may differ, in milliseconds. */
  readonly clockToleranceMs: number
}

/** In characters. An RSA signature of 4096 bits takes 683 of them; the rest is for long names. */
const LONGEST = 8_192
const LONGEST_JTI = 256
/** The longest that a `jti` has to be remembered, and that a stolen assertion could be used. */
const LONGEST_LIFE_MS = 600_000

/** @throws {GatewayError} `invalid_request` */
export function unverifiedAssertion(token: string): Assertion {
  if (token.length > LONGEST) rejectAssertion('the assertion is too long')
  try {
    assertCanonical(token)
    return { token, header: unverifiedHeader(token), claims: unverifiedClaims(token) }
  } catch (cause) {
    rejectAssertion('the assertion is not one signed JWT in canonical compact form', cause)
  }
}

/** Reads the keys once, when it is called. */
export function createCheckAssertion(options: CheckAssertionOptions): CheckAssertion {
  const { clientId, audiences } = options
  const keys = options.keys.map(({ publicKey, ...named }) => ({
    ...named,
    key: createPublicKey(publicKey),
  }))
  const judgeTime = createJudgeTime(options.clockToleranceMs)
  return ({ token, header, claims }) => {
    const { alg, kid } = assertHeader(header)
    const fitting = keys.filter(
      ({ algorithm, keyId }) =>
        algorithm === alg && (kid === undefined || keyId === undefined || kid === keyId),
    )
    if (fitting.length === 0) rejectAssertion('the header names no key of the client')
    const { iss, sub, aud, jti } = claims
    if (iss !== clientId || sub !== clientId) {
      rejectAssertion('the "iss" and "sub" claims must both be the client')
    }
    if (!isOneOf(aud, audiences)) rejectAssertion('the "aud" claim is not this token endpoint')
    if (typeof jti !== 'string' || jti === '' || jti.length > LONGEST_JTI) {
      rejectAssertion(`the "jti" claim must be a string of at most ${LONGEST_JTI} characters`)
    }
    const until = judgeTime(claims)
    if (!fitting.some(({ key, algorithm }) => isSigned(token, algorithm, key))) {
      rejectAssertion('the signature is of no key of the client')
    }
    // The names of proofs begin with a thumbprint instead of this word. The client's id keeps `jti`s of clients apart.
    const name = hash('sha256', JSON.stringify(['assertion', clientId, jti]), 'base64url')
    return { name, until, holder: `client ${clientId}` }
  }
}

/** Costs no key operation, so it comes first. RFC 8725, section 3.11: a `typ` of another kind of token is refused. */
function assertHeader({ alg, kid, typ, ...others }: Members): {
  readonly alg: unknown
  readonly kid: string | undefined
} {
  // The gateway understands no extension (RFC 7515, section 4.1.11), not even the unencoded payload of RFC 7797.
  if ('crit' in others || 'b64' in others) rejectAssertion('the header asks for an extension')
  if (kid !== undefined && typeof kid !== 'string') {
    rejectAssertion('the "kid" header is not a string')
  }
  if (typ !== undefined && (typeof typ !== 'string' || !ASSERTION_TYPES.test(typ))) {
    rejectAssertion('the "typ" header names another kind of token')
  }
  return { alg, kid }
}

/** `JWT`, which most libraries write if they write a `typ`, and the type that is registered for assertions. */
const ASSERTION_TYPES = /^(?:application\/)?(?:client-authentication\+)?jwt$/i

/** Whether this token endpoint is the only audience. Any other that the assertion was sent to could use it here. */
function isOneOf(aud: unknown, audiences: readonly string[]): boolean {
  const one: unknown = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud
  return typeof one === 'string' && audiences.includes(one)
}

/** RFC 7523, section 3, checks 4 to 6. Returns when the assertion is no longer accepted, in epoch milliseconds. */
function createJudgeTime(tolerance: number): (claims: Members) => number {
  return ({ exp, nbf, iat }) => {
    const now = Date.now()
    if (!isDate(exp)) rejectAssertion('the "exp" claim must be a number')
    const until = exp * 1_000 + tolerance
    if (now >= until) rejectAssertion('the assertion has expired')
    if (until - tolerance > now + LONGEST_LIFE_MS + tolerance) {
      rejectAssertion('the "exp" claim is too far ahead')
    }
    for (const [name, value] of [
      ['nbf', nbf],
      ['iat', iat],
    ] as const) {
      if (value === undefined) continue
      if (!isDate(value)) rejectAssertion(`the "${name}" claim must be a number`)
      if (value * 1_000 > now + tolerance) rejectAssertion(`the "${name}" claim is in the future`)
    }
    return until
  }
}

/** RFC 7519, section 2: a NumericDate. JSON can hold numbers that are read as infinite: an infinite `exp` never comes. */
function isDate(value: unknown): value is number {
  return Number.isFinite(value)
}

function rejectAssertion(detail: string, cause?: unknown): never {
  throw new GatewayError('invalid_request', detail, { cause })
}
