import { GatewayError } from '../errors.ts'
import { parseJsonObject } from './json.ts'
import { assertCanonical, unverifiedClaims, unverifiedHeader } from './jwt.ts'
import type { Keys } from './keys.ts'
import { createKeySignature, type Signature } from './signature.ts'

/** The members of an answer about a token (RFC 7662, section 2.2). Only the answer's origin has been verified. */
export type Answered = Readonly<Record<string, unknown>>

/** An answer as it was received, with status 200. */
export interface IntrospectionAnswer {
  /** In lower case, without parameters. */
  readonly mediaType: string
  readonly text: string
}

export interface ReadOptions {
  /** The identifier of the issuer that was asked. */
  readonly identifier: string
  /** The values that a signed answer's `aud` may hold: the client's id, and the API's audience. */
  readonly recipients: readonly string[]
  /** Called for the first signed answer, since not every issuer signs. */
  readonly keys: () => Keys
  /** The algorithms that are accepted for signed answers. */
  readonly algorithms: readonly string[]
  readonly clockToleranceMs: number
}

/** RFC 9701, section 4. */
export const SIGNED_ANSWER = 'application/token-introspection+jwt'

/**
 * Reads answers in plain JSON and signed ones (RFC 9701). The issuer may choose, because either comes over TLS from the
 * endpoint that was asked. Does NOT read encrypted answers.
 *
 * @throws {GatewayError} `exchange_unavailable` for an answer that makes no sense, which says nothing about the token;
 *   `keys_unavailable`
 */
export function createRead(
  options: ReadOptions,
): (answer: IntrospectionAnswer) => Promise<Answered> {
  const { identifier, recipients, keys, algorithms, clockToleranceMs } = options
  let signature: Signature | undefined

  async function signed(text: string): Promise<Answered> {
    assertCanonical(text)
    const header = unverifiedHeader(text)
    const { typ } = header
    if (typeof typ !== 'string' || !SIGNED_TYPE.test(typ)) throw new Error('it is another JWT')
    signature ??= createKeySignature(keys(), algorithms)
    await signature.verify(text, header)
    const { iss, aud, iat, token_introspection: answered } = unverifiedClaims(text)
    if (iss !== identifier) throw new Error('it is of another issuer')
    if (!recipients.some((one) => [aud].flat().includes(one))) throw new Error('it is for another')
    const age = typeof iat === 'number' ? Date.now() - iat * 1_000 : Number.NaN
    if (!(age >= -clockToleranceMs && age < OLDEST_MS + clockToleranceMs)) {
      throw new Error('it is not of now')
    }
    if (typeof answered !== 'object' || answered === null || Array.isArray(answered)) {
      throw new Error('it holds no answer')
    }
    return answered as Answered
  }

  return async ({ mediaType, text }) => {
    try {
      const answered = mediaType === SIGNED_ANSWER ? await signed(text) : parseJsonObject(text)
      // RFC 7662, section 2.2: `active` is required, and a boolean.
      if (typeof answered['active'] !== 'boolean') throw new Error('it does not say "active"')
      return answered
    } catch (cause) {
      if (cause instanceof GatewayError && cause.code === 'keys_unavailable') throw cause
      throw new GatewayError('exchange_unavailable', "the issuer's answer makes no sense", {
        cause,
        retryAfter: 1,
      })
    }
  }
}

/** RFC 9701, section 5. */
const SIGNED_TYPE = /^(?:application\/)?token-introspection\+jwt$/i
/** A signed answer is made for each question, so an older one is a replay. */
const OLDEST_MS = 60_000
