import { createPublicKey, hash, type JsonWebKey, type KeyObject } from 'node:crypto'
import { parseJsonObject } from './json.ts'
import { rsaWeakness } from './rsa.ts'

/** The public keys of an issuer, as it published them at one time. */
export interface KeySet {
  /** Differs whenever the published text does. */
  readonly epoch: string
  /** Finds the keys that may have signed a token with this header. */
  find(header: Readonly<Record<string, unknown>>): Found
}

export interface Found {
  /** The keys that match, at most eight. Weak ones are left out. */
  readonly keys: readonly KeyObject[]
  /** Why a key that matches was left out, if one was. */
  readonly unusable: Error | undefined
}

/** How many keys a token without a `kid` is tried with. */
const MOST_TRIED = 8

/**
 * Reads a JWK Set (RFC 7517, section 5). Each key is parsed when a token first needs it, so that an unusable key does not
 * affect the others.
 *
 * @throws {Error} for text that is not a key set
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

/** The kind of key that each algorithm needs (RFC 7518, section 3.1; RFC 8037, section 3.1). */
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
 * Compares the header with the key's own members (RFC 7517, sections 4.2 to 4.5): a key that names an algorithm is used with
 * no other, and a key for encryption never verifies. A token that names a `kid` is not tried with a key that has none.
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

// RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1. With a published private key everybody can sign.
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
