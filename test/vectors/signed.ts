/** The units that read a signed token, driven with any keys and any algorithms. */
import { isShort } from '../../src/config/secrets.ts'
import { createKeySet } from '../../src/authenticate/key-set.ts'
import { assertCanonical, assertLength, unverifiedHeader } from '../../src/authenticate/jwt.ts'
import {
  createKeySignature,
  createSecretSignature,
  type Signature,
} from '../../src/authenticate/signature.ts'
import { GatewayError } from '../../src/errors.ts'

export type Jwk = Readonly<Record<string, unknown>>

/** All that a configuration may name. */
export const OFFERED = ['HS256', 'RS256', 'RS512', 'PS256', 'ES256', 'EdDSA'] as const

/** By the code of the refusal; `valid` where there is none. What is no refusal is a defect, and is thrown. */
export async function judged(
  token: string,
  keys: readonly Jwk[],
  algorithms: readonly string[],
): Promise<string> {
  try {
    // What the configuration refuses at start verifies nothing.
    if (keys.some(({ kty, k }) => kty === 'oct' && isShort(secretOf(k)))) return 'refused at start'
    assertLength(token)
    assertCanonical(token)
    await signatureOf(keys, algorithms).verify(token, unverifiedHeader(token))
    return 'valid'
  } catch (error) {
    if (error instanceof GatewayError && error.code !== 'internal_error') return error.code
    throw error
  }
}

/** Symmetric keys are secrets of the configuration, which have no name and no use; all others are published. */
function signatureOf(keys: readonly Jwk[], algorithms: readonly string[]): Signature {
  if (keys.every(({ kty }) => kty === 'oct')) {
    return createSecretSignature(
      keys.map(({ k }) => secretOf(k)),
      algorithms,
    )
  }
  const set = createKeySet(JSON.stringify({ keys }))
  const known = async (): Promise<typeof set> => set
  return createKeySignature({ epoch: () => set.epoch, current: known, renewed: known }, algorithms)
}

function secretOf(k: unknown): Buffer {
  return Buffer.from(String(k), 'base64url')
}

const PRIVATE = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi'])

/** What its owner would publish. */
export function published(jwk: Jwk): Jwk {
  return Object.fromEntries(Object.entries(jwk).filter(([name]) => !PRIVATE.has(name)))
}
