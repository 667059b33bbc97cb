import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPair,
  type KeyObject,
} from 'node:crypto'
import { promisify } from 'node:util'
import { calculateJwkThumbprint, exportJWK, type JWK } from 'jose'
import type { ResourceServer } from './resource-server.ts'

export interface SigningKey {
  readonly key: KeyObject
  /** Absent for a signing secret: an HS256 token names no key. */
  readonly keyId: string | undefined
}

/** The tenant's own keys, and the secrets of the APIs that have one. */
export interface Keys {
  /** The published key set (RFC 7517, section 5): the current key and previous ones that were not dropped. */
  published(): { readonly keys: readonly JWK[] }
  /** The key that signs new tokens for this API. */
  signingKey(server: ResourceServer): SigningKey
  /** The key that verifies a token of this API; undefined if the key is unknown or was dropped. */
  verificationKey(server: ResourceServer, keyId: string | undefined): KeyObject | undefined
  /** Signs with a new key from now on. The previous ones stay published. */
  rotate(): Promise<void>
  /** Forgets all keys but the current one: tokens that the others signed are refused from now on. */
  dropPrevious(): void
}

interface Pair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly jwk: JWK
  readonly keyId: string
}

/**
 * @param signingKey the first key, an RSA private key in PEM. Default: a new one
 * @throws {TypeError} it is another kind of key, or shorter than 2048 bits
 */
export async function createKeys(signingKey?: string): Promise<Keys> {
  const first = signingKey === undefined ? await newPrivateKey() : readPrivateKey(signingKey)
  let pairs: readonly Pair[] = [await createPair(first)]
  const algorithms = new Set<string>(['RS256'])
  return {
    published: () => ({
      keys: pairs.flatMap((pair) =>
        [...algorithms].map((alg) => ({ ...pair.jwk, kid: nameOf(pair, alg), alg })),
      ),
    }),
    signingKey(server) {
      if (server.signing_alg === 'HS256') return { key: secretOf(server), keyId: undefined }
      algorithms.add(server.signing_alg)
      const [pair] = pairs as readonly [Pair]
      return { key: pair.privateKey, keyId: nameOf(pair, server.signing_alg) }
    },
    verificationKey(server, keyId) {
      if (server.signing_alg === 'HS256') return secretOf(server)
      return pairs.find((pair) => nameOf(pair, server.signing_alg) === keyId)?.publicKey
    },
    async rotate() {
      pairs = [await createPair(await newPrivateKey()), ...pairs]
    },
    dropPrevious() {
      pairs = pairs.slice(0, 1)
    },
  }
}

/** One key has a `kid` for each algorithm that is used, because a published key names its algorithm. */
function nameOf({ keyId }: Pair, algorithm: string): string {
  return algorithm === 'RS256' ? keyId : `${keyId}-${algorithm}`
}

/** Raw UTF-8, as Auth0 uses it: the secret is not base64, even where it looks like it. */
function secretOf({ identifier, signing_secret: secret }: ResourceServer): KeyObject {
  if (secret === undefined) throw new TypeError(`${identifier} has no signing secret`)
  return createSecretKey(Buffer.from(secret, 'utf8'))
}

/** RFC 7518, section 3.3: RSA keys have 2048 bits or more. */
const LEAST_BITS = 2_048

async function newPrivateKey(): Promise<KeyObject> {
  const options = { modulusLength: LEAST_BITS }
  return (await promisify(generateKeyPair)('rsa', options)).privateKey
}

function readPrivateKey(pem: string): KeyObject {
  const key = createPrivateKey(pem)
  const { modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType !== 'rsa' || modulusLength < LEAST_BITS) {
    throw new TypeError(`the signing key must be an RSA key of at least ${LEAST_BITS} bits`)
  }
  return key
}

async function createPair(privateKey: KeyObject): Promise<Pair> {
  const publicKey = createPublicKey(privateKey)
  const bare = await exportJWK(publicKey)
  const keyId = await calculateJwkThumbprint(bare)
  return {
    privateKey,
    publicKey,
    keyId,
    jwk: { ...bare, use: 'sig' },
  }
}
