import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'

/** A used proof; a family of refresh tokens; a caller that is told when to come back. */
export type Kind = 'proof' | 'family' | 'caller'

/**
 * Protects what is kept in a store that others can read: names that reveal nothing, and values that only a holder of a
 * sealing key can open.
 *
 * Name, seal and mark are separate derivations, so that none of them reveals anything about another.
 */
export interface Seals {
  /** The names of an entry, one for each sealing key: the first is written to, and all are looked up. */
  names(key: string): readonly string[]
  /** The names of a mark, one for each sealing key, all of them written and all of them looked up. */
  marks(tag: string): readonly string[]
  /** The names of something else that replicas share, one for each sealing key. No two kinds have a name in common. */
  named(kind: Kind, key: string): readonly string[]
  /** Further secrets that are the same in all replicas, one for each sealing key. */
  secrets(purpose: string): readonly Buffer[]
  /**
   * Seals a text for one name, under the first sealing key.
   *
   * @param secret what is needed to open it in addition to the sealing key; empty: nothing
   */
  seal(name: string, text: string, secret: string): Buffer
  /** Opens a value that was sealed for this very name with this very secret; undefined for any other. */
  open(name: string, value: Buffer, secret: string): string | undefined
}

interface Sealing {
  readonly key: Buffer
  readonly id: Buffer
  readonly nameKey: Buffer
  readonly markKey: Buffer
}

const VERSION = 1
const ID_BYTES = 4
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEADER_BYTES = 1 + ID_BYTES + NONCE_BYTES

/**
 * A value is: version, key id, nonce, ciphertext of AES-256-GCM, tag. The cipher's key is derived from the sealing key and
 * the secret by HKDF-SHA256 (RFC 5869) with the nonce as salt, so that each key encrypts one value. The cipher uses the same
 * nonce. Associated data are the version, the key id and the name.
 *
 * @param sealingKeys of 32 bytes each. The first one seals, and all of them open, so that keys can be rotated
 * @throws {RangeError} where there is none, or one has another length
 */
export function createSeals(sealingKeys: readonly Buffer[]): Seals {
  const sealings = sealingKeys.map(sealingOf)
  const [first] = sealings
  if (first === undefined) throw new RangeError('there must be a sealing key')

  return {
    names: (key) => sealings.map(({ nameKey }) => `behalf:entry:{${named(nameKey, key)}}`),
    marks: (tag) => sealings.map(({ markKey }) => `behalf:mark:${named(markKey, tag)}`),
    named: (kind, key) =>
      sealings.map(({ nameKey }) => `behalf:${kind}:${named(nameKey, `${kind} ${key}`)}`),
    secrets: (purpose) => sealings.map(({ key }) => derived(key, `behalf ${purpose} 1`)),
    seal(name, text, secret) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', valueKey(first, nonce, secret), nonce)
      cipher.setAAD(associated(name, first.id))
      const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return Buffer.concat([Buffer.of(VERSION), first.id, nonce, sealed, cipher.getAuthTag()])
    },
    open(name, value, secret) {
      if (value.length < HEADER_BYTES + TAG_BYTES || value[0] !== VERSION) return undefined
      const id = value.subarray(1, 1 + ID_BYTES)
      const sealing = sealings.find((one) => one.id.equals(id))
      return sealing && opened(sealing, name, value, secret)
    },
  }
}

function opened(sealing: Sealing, name: string, value: Buffer, secret: string): string | undefined {
  const nonce = value.subarray(1 + ID_BYTES, HEADER_BYTES)
  const end = value.length - TAG_BYTES
  const decipher = createDecipheriv('aes-256-gcm', valueKey(sealing, nonce, secret), nonce, {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(associated(name, sealing.id))
  decipher.setAuthTag(value.subarray(end))
  try {
    const text = decipher.update(value.subarray(HEADER_BYTES, end), undefined, 'utf8')
    return text + decipher.final('utf8')
  } catch {
    // The value was sealed for another name, with another secret, or by somebody else.
    return undefined
  }
}

function sealingOf(key: Buffer): Sealing {
  if (key.length !== 32) throw new RangeError(`a sealing key has 32 bytes, not ${key.length}`)
  return {
    key,
    id: derived(key, 'behalf key id 1').subarray(0, ID_BYTES),
    nameKey: derived(key, 'behalf name 1'),
    markKey: derived(key, 'behalf mark 1'),
  }
}

function derived(key: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), purpose, 32))
}

/** All sealing keys have the same length, so that it is unambiguous where the secret begins. */
function valueKey({ key }: Sealing, nonce: Buffer, secret: string): Buffer {
  const material = Buffer.concat([key, Buffer.from(secret, 'utf8')])
  return Buffer.from(hkdfSync('sha256', material, nonce, 'behalf value 1', 32))
}

function associated(name: string, id: Buffer): Buffer {
  return Buffer.concat([Buffer.of(VERSION), id, Buffer.from(name, 'utf8')])
}

function named(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}
