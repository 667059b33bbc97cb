import { createPublicKey, hash, type KeyObject } from 'node:crypto'
import { compactDecrypt } from 'jose'
import { rejectToken, unverifiedHeader } from './jwt.ts'

/** A private key that tokens are encrypted to, and the `kid` that the issuer uses for it, if any. */
export interface DecryptionKey {
  readonly key: KeyObject
  readonly kid: string | undefined
}

/** The keys at one time. */
export interface DecryptionKeys {
  readonly keys: readonly DecryptionKey[]
  /** Differs for each set of keys. */
  readonly epoch: string
}

export interface DecryptOptions {
  /** Returns the current keys: their files may be replaced. */
  readonly keys: () => DecryptionKeys | Promise<DecryptionKeys>
  /** The values of `alg` that are accepted. Default: RSA-OAEP with SHA-2. */
  readonly algorithms?: readonly string[]
  /** The values of `enc` that are accepted. Default: AES-GCM. */
  readonly encryptions?: readonly string[]
}

export interface Decrypted {
  /** The plaintext. Not verified yet. */
  readonly text: string
  /** The epoch of the keys that it was decrypted with. */
  readonly epoch: string
}

/**
 * Decrypts a token in compact form (RFC 7516, section 5.2). Does NOT tell who encrypted it, since everybody can, and does
 * not look at the plaintext: whoever takes it for a token must verify its signature.
 *
 * @param token in canonical compact form
 * @throws {GatewayError} `invalid_token`, the same for every way in which decryption can fail
 */
export type Decrypt = (token: string) => Promise<Decrypted>

/** RFC 8725, section 3.2: without PKCS #1 v1.5, whose padding errors are an oracle, and without SHA-1. */
const ALGORITHMS = ['RSA-OAEP-256', 'RSA-OAEP-384', 'RSA-OAEP-512']
const ENCRYPTIONS = ['A128GCM', 'A192GCM', 'A256GCM']

/** Refuses by the header alone, where it can, before any key is used. */
export function createDecrypt(options: DecryptOptions): Decrypt {
  const { keys, algorithms = ALGORITHMS, encryptions = ENCRYPTIONS } = options
  const accepted = {
    keyManagementAlgorithms: [...algorithms],
    contentEncryptionAlgorithms: [...encryptions],
  }
  return async (token) => {
    const header = unverifiedHeader(token)
    assertEncryption(header, algorithms, encryptions)
    const { keys: all, epoch } = await keys()
    for (const { key } of fitting(all, header['kid'])) {
      try {
        const { plaintext } = await compactDecrypt(token, key, accepted)
        return { text: utf8.decode(plaintext), epoch }
      } catch {
        // All failures look alike, also in the log: whoever learned which key or which step failed could try ciphertexts
        // until one fits.
      }
    }
    rejectToken('the access token cannot be decrypted')
  }
}

type Header = Readonly<Record<string, unknown>>

function assertEncryption(
  header: Header,
  algorithms: readonly string[],
  encryptions: readonly string[],
): void {
  const { alg, enc, kid } = header
  // RFC 8725, section 3.6: the length of a compressed plaintext reveals something of it. It could also inflate to any size.
  if ('zip' in header) rejectToken('the access token is compressed')
  // The gateway understands no extension (RFC 7516, section 4.1.13).
  if ('crit' in header) rejectToken('the header asks for an extension')
  if (kid !== undefined && typeof kid !== 'string') rejectToken('the "kid" header is not a string')
  if (typeof alg !== 'string' || !algorithms.includes(alg)) {
    rejectToken('the "alg" header names no way to encrypt that is accepted')
  }
  if (typeof enc !== 'string' || !encryptions.includes(enc)) {
    rejectToken('the "enc" header names no way to encrypt that is accepted')
  }
}

/** The keys that have the token's `kid`; where there are none, those without a `kid`. A token without a `kid` fits all. */
function fitting(keys: readonly DecryptionKey[], kid: unknown): readonly DecryptionKey[] {
  if (kid === undefined) return keys
  const named = keys.filter((one) => one.kid === kid)
  return named.length > 0 ? named : keys.filter((one) => one.kid === undefined)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Adds the epoch, which is a hash of the public keys and their `kid`s alone. */
export function decryptionKeys(keys: readonly DecryptionKey[]): DecryptionKeys {
  const parts = keys.map(({ key, kid }) => {
    const open = key.type === 'private' ? createPublicKey(key) : key
    const text = open.type === 'public' ? open.export({ format: 'pem', type: 'spki' }) : ''
    return [kid ?? null, text]
  })
  return { keys, epoch: hash('sha256', JSON.stringify(parts), 'base64url') }
}
