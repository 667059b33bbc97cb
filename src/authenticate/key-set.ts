import { createPublicKey, hash, type JsonWebKey, type KeyObject } from 'node:crypto'
import { parseJsonObject } from './json.ts'
import { rsaWeakness } from './rsa.ts'

/** The public keys of an issuer, as they were published at one time. */
export interface KeySet {
  /** Another for each other text. */
  readonly epoch: string
  /** What may have signed a token with this header. */
  find(header: Readonly<Record<string, unknown>>): Found
}

export interface Found {
  /** At most eight of those that match, none of them weak. */
  readonly keys: readonly KeyObject[]
  /** Why a key that matches is not among them. */
  readonly unusable: Error | undefined
}

/** A token that names no key is tried with as many, and no more. */
const MOST_TRIED = 8

/**
 * A JWK Set (RFC 7517, section 5). A key that cannot be used spoils no other: it is looked at when a token asks for it.
 *
 * @throws {Error} for a text that is no key set
 */
export function createKeySet(text: string): KeySet {
  const { keys: published } = parseJsonObject(text)
  if (!Array.isArray(published)) throw new SyntaxError('the key set has no keys')
  const keys = published.filter(isObject).map((jwk) => ({ jwk, key: once(() => usable(jwk)) }))
  if (keys.length === 0 && published.length > 0) throw new SyntaxError('the key set has no keys')
  return {
    epoch: hash('sha256', text, 'base64url'),
    find(header) {
      const found: KeyObject[] = []
      let unusable: Error | undefined
      for (const { jwk, key } of keys) {
        if (found.length === MOST_TRIED) break
        if (!matches(jwk, header)) continue
        const read = key()
        if (read instanceof Error) unusable = read
        else found.push(read)
      }
      return { keys: found, unusable }
    },
  }
}

type Members = Readonly<Record<string, unknown>>

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined
  return () => (made ??= { value: make() }).value
}

/** What a key must be to sign with an algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1). */
const KINDS: Readonly<Record<string, { readonly kty: string; readonly crv?: string }>> = {
  RS256: { kty: 'RSA' },
  RS384: { kty: 'RSA' },
  RS512: { kty: 'RSA' },
  PS256: { kty: 'RSA' },
  PS384: { kty: 'RSA' },
  PS512: { kty: 'RSA' },
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  ES512: { kty: 'EC', crv: 'P-521' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
}

/**
 * By what the key says of itself (RFC 7517, sections 4.2 to 4.5): one key is for one algorithm where it names it, and
 * never for signatures where it is for encryption. A token that names a `kid` is not tried with a key that has none.
 */
function matches(jwk: Members, { alg, kid }: Members): boolean {
  const kind = typeof alg === 'string' && Object.hasOwn(KINDS, alg) ? KINDS[alg] : undefined
  const { kty, crv, use, key_ops: operations } = jwk
  return (
    kind !== undefined &&
    kty === kind.kty &&
    (kind.crv === undefined || crv === kind.crv) &&
    (kid === undefined || jwk['kid'] === kid) &&
    (jwk['alg'] === undefined || jwk['alg'] === alg) &&
    (use === undefined || use === 'sig') &&
    (operations === undefined || (Array.isArray(operations) && operations.includes('verify')))
  )
}

// RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1. Whatever it verified, everybody could have signed.
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

function usable(jwk: Members): KeyObject | Error {
  if (PRIVATE.some((member) => member in jwk)) return new Error('a published key is private')
  let key: KeyObject
  try {
    key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
  } catch (cause) {
    return new Error('a published key cannot be read', { cause })
  }
  const weakness = key.asymmetricKeyType === 'rsa' ? rsaWeakness(key) : undefined
  return weakness === undefined ? key : new Error(`a published key ${weakness}`)
}
