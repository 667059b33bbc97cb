import { createSecretKey } from 'node:crypto'
import { isSigned } from './jws.ts'
import { rejectToken } from './jwt.ts'
import type { KeySet } from './key-set.ts'
import { keysUnavailable, type Keys } from './keys.ts'

type Header = Readonly<Record<string, unknown>>

/**
 * Checks who signed a token (RFC 7515, section 5.2). The configuration decides which algorithms are accepted, never the
 * token. Does NOT take keys from a token: `jwk`, `jku`, `x5c` and `x5u` are ignored. Does NOT look at claims.
 */
export interface Signature {
  /**
   * @param token in canonical compact form
   * @param header the token's protected header
   * @returns the epoch of the keys that verified the token
   * @throws {GatewayError} `invalid_token`, `keys_unavailable`
   */
  verify(token: string, header: Header): Promise<string>
  /** The epoch of the current keys. */
  epoch(): string
}

/** @param secrets tried in this order. Text is used as its UTF-8 bytes */
export function createSecretSignature(
  secrets: readonly (string | Uint8Array)[],
  algorithms: readonly string[],
): Signature {
  const keys = secrets.map((secret) => createSecretKey(Buffer.from(secret)))
  return {
    async verify(token, header) {
      const algorithm = algorithmOf(header, algorithms)
      if (!keys.some((key) => isSigned(token, algorithm, key)))
        rejectToken('the signature does not match')
      return ''
    },
    epoch: () => '',
  }
}

/** @param keys of the issuer that the token names */
export function createKeySignature(keys: Keys, algorithms: readonly string[]): Signature {
  return {
    async verify(token, header) {
      const algorithm = algorithmOf(header, algorithms)
      const known = await keys.current()
      const first = judge(token, header, algorithm, known)
      if (first === 'signed') return known.epoch
      if (first === 'forged') rejectToken('the signature does not match')
      const renewed = await keys.renewed()
      const second =
        renewed.epoch === known.epoch ? first : judge(token, header, algorithm, renewed)
      if (second === 'signed') return renewed.epoch
      if (second instanceof Error) keysUnavailable("the issuer's key cannot be used", second)
      rejectToken("the signature is of none of the issuer's keys")
    },
    epoch: () => keys.epoch(),
  }
}

/**
 * Tries a token with a key set. `forged`: the set has the key that the token names, and that key did not sign it. `unknown`:
 * the token has no `kid`, or one that is not in the set, so that the issuer may have a newer key for it. An Error: the key
 * cannot be used.
 */
function judge(
  token: string,
  header: Header,
  algorithm: string,
  set: KeySet,
): 'signed' | 'forged' | 'unknown' | Error {
  const { keys, unusable } = set.find(header)
  if (keys.length === 0) return unusable ?? 'unknown'
  try {
    if (keys.some((key) => isSigned(token, algorithm, key))) return 'signed'
  } catch (error) {
    // Verification throws only for an unusable key. No token can cause that: the issuer has to mend it.
    return error as Error
  }
  return header['kid'] === undefined ? 'unknown' : 'forged'
}

/** Checks the header, before any key is fetched. */
function algorithmOf(header: Header, algorithms: readonly string[]): string {
  const { alg, kid } = header
  // The gateway understands no extension (RFC 7515, section 4.1.11), not even the unencoded payload of RFC 7797.
  if ('crit' in header || 'b64' in header) rejectToken('the header asks for an extension')
  if (kid !== undefined && typeof kid !== 'string') rejectToken('the "kid" header is not a string')
  if (typeof alg !== 'string' || !algorithms.includes(alg)) {
    rejectToken('the "alg" header names no algorithm of this API')
  }
  return alg
}
