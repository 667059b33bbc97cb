import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Client, Material } from '../config/config.ts'
import type { Identity } from '../outbound.ts'
import { type Current, current, reread } from './reread.ts'

/**
 * A client's certificate and its key, as they were at one time. It travels with the tokens that are bound to it, so both are
 * private fields: whatever prints or serializes such a token sees the thumbprint alone.
 */
export class ClientIdentity implements Identity {
  /** SHA-256 of the certificate in DER: the `cnf.x5t#S256` of tokens that are bound to it (RFC 8705, section 3.1). */
  readonly thumbprint: string
  readonly #certificate: string
  readonly #key: string

  /** @throws {Error} where the key does not belong to the certificate */
  constructor({ certificate, key }: Identity) {
    const first = new X509Certificate(certificate)
    if (!first.checkPrivateKey(createPrivateKey(key))) {
      throw new Error('the certificate is not of its key')
    }
    this.thumbprint = Buffer.from(first.fingerprint256.replaceAll(':', ''), 'hex').toString(
      'base64url',
    )
    this.#certificate = certificate
    this.#key = key
  }

  get certificate(): string {
    return this.#certificate
  }

  get key(): string {
    return this.#key
  }
}

/** A client that has a certificate, whether or not it authenticates with it. */
export type Certified = Client & { readonly certificate: Material; readonly key: Material }

export function isCertified(client: Client): client is Certified {
  return client.certificate !== undefined && client.key !== undefined
}

type Pair = Pick<Certified, 'certificate' | 'key'>

const identities = new WeakMap<Pair, Current<ClientIdentity>>()

/** Each call with the same object returns the same identity. */
export function identityOf(pair: Pair): Current<ClientIdentity> {
  let identity = identities.get(pair)
  if (identity === undefined) identities.set(pair, (identity = currentIdentity(pair)))
  return identity
}

function currentIdentity({ certificate, key }: Pair): Current<ClientIdentity> {
  const certificateNow = reread(certificate, (text) => text)
  const keyNow = reread(key, (text) => text)
  let known: ClientIdentity | undefined
  const made = (one: Identity): ClientIdentity => (known = new ClientIdentity(one))

  async function fresh(): Promise<ClientIdentity> {
    const one = { certificate: await certificateNow(), key: await keyNow() }
    if (known?.certificate === one.certificate && known.key === one.key) return known
    try {
      return made(one)
    } catch (error) {
      if (known === undefined) throw error
      // One of the two files was replaced, and the other is about to be: until then the old pair serves.
      return known
    }
  }
  return current(fresh, () => made({ certificate: textOf(certificate), key: textOf(key) }))
}

function textOf(material: Material): string {
  return 'pem' in material ? material.pem : readFileSync(material.file, 'utf8')
}
