import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify, type JWTPayload } from 'jose'
import { Refusal } from './refusal.ts'

export interface DpopOptions {
  /** The token endpoint's own address, which the `htu` of proofs must equal. */
  readonly url: string
  /** Whether a proof must contain a nonce of the tenant (RFC 9449, section 8). */
  readonly nonces: boolean
  /** In epoch milliseconds. */
  readonly now: () => number
}

export interface Dpop {
  /** The nonce that every answer gives for the next proof; undefined if proofs need none. */
  nonce(): string | undefined
  /**
   * The thumbprint of the key whose possession a request proves (RFC 9449, section 4.3); undefined without a proof.
   *
   * @param proof the request's header
   * @throws {Refusal} `invalid_dpop_proof`, `use_dpop_nonce`
   */
  verify(proof: string | undefined): Promise<string | undefined>
}

/** RFC 9449, section 11.1: how far `iat` may be from now, to either side. */
const WINDOW_SECONDS = 60
/** The length of a period. A nonce is good in the period in which it was given, and in the next one. */
const NONCE_SECONDS = 60
/** Beyond that the oldest is forgotten: only somebody on this machine can flood a tenant on loopback. */
const REMEMBERED_PROOFS = 100_000

export function createDpop({ url, nonces, now }: DpopOptions): Dpop {
  const secret = randomBytes(32)
  const used = new Map<string, number>()
  const period = (): number => Math.floor(now() / 1_000 / NONCE_SECONDS)
  const nonceOf = (at: number): string =>
    createHmac('sha256', secret).update(String(at)).digest('base64url')

  function assertNonce({ nonce }: JWTPayload): void {
    if (!nonces) return
    const good = [nonceOf(period()), nonceOf(period() - 1)]
    if (typeof nonce !== 'string' || !good.some((one) => isSame(one, nonce))) {
      throw new Refusal('use_dpop_nonce', 'Authorization server requires nonce in DPoP proof')
    }
  }

  function assertUnused(jti: string): void {
    const seconds = now() / 1_000
    for (const [old, until] of used) {
      if (until > seconds && used.size < REMEMBERED_PROOFS) break
      used.delete(old)
    }
    if (used.has(jti)) invalid('it was used before')
    used.set(jti, seconds + 2 * WINDOW_SECONDS)
  }

  return {
    nonce: () => (nonces ? nonceOf(period()) : undefined),
    async verify(proof) {
      if (proof === undefined) return undefined
      const { payload, protectedHeader } = await verified(proof)
      const { htm, htu, iat = 0, jti } = payload
      if (htm !== 'POST' || htu !== url) invalid('it is for another request')
      if (Math.abs(now() / 1_000 - iat) > WINDOW_SECONDS) invalid('it is not of this time')
      if (typeof jti !== 'string' || jti === '') invalid('it has no jti')
      assertNonce(payload)
      assertUnused(jti)
      return calculateJwkThumbprint(protectedHeader.jwk!)
    },
  }

  function verified(proof: string) {
    const options = {
      typ: 'dpop+jwt',
      algorithms: ['ES256', 'RS256'],
      requiredClaims: ['htm', 'htu', 'iat', 'jti'],
      // By the tenant's own clock, which a test may have set.
      currentDate: new Date(now()),
    }
    return jwtVerify(proof, EmbeddedJWK, options).catch(() => invalid('it cannot be verified'))
  }
}

function isSame(one: string, other: string): boolean {
  return one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other))
}

function invalid(why: string): never {
  throw new Refusal('invalid_dpop_proof', `Invalid DPoP proof: ${why}`)
}
