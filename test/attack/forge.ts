/** Tokens of any header and any payload, well signed, badly signed, or not signed at all. */
import {
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  sign as signBytes,
  type KeyObject,
} from 'node:crypto'

export type Members = Readonly<Record<string, unknown>>
export type Sign = (input: string) => Buffer

/** One way to sign, the header that goes with it, and who else could try. */
export interface Signer {
  readonly header: { readonly alg: string; readonly kid?: string }
  readonly sign: Sign
  /** By the same algorithm, with a key that nobody trusts. */
  readonly forge: Sign
  /** What is published of the keys that are trusted, in every form that somebody may take for a secret. */
  readonly published: readonly Buffer[]
  /** As it stands in a key set; absent for a secret. */
  readonly jwk?: Members
  readonly strangersJwk?: Members
}

export function encoded(part: string | Buffer | Members): string {
  const bytes = typeof part === 'string' || Buffer.isBuffer(part) ? part : JSON.stringify(part)
  return Buffer.from(bytes).toString('base64url')
}

export function compact(
  header: string | Buffer | Members,
  payload: string | Buffer | Members,
  sign: Sign,
): string {
  const input = `${encoded(header)}.${encoded(payload)}`
  return `${input}.${sign(input).toString('base64url')}`
}

export const unsigned: Sign = () => Buffer.alloc(0)

export function bySecret(secret: string | Buffer, hash = 'sha256'): Sign {
  return (input) => createHmac(hash, secret).update(input).digest()
}

export function rsaSigner(kid: string, modulusLength = 2_048): Signer {
  return signerOf('RS256', kid, () => generateKeyPairSync('rsa', { modulusLength }))
}

export function ecSigner(kid: string): Signer {
  return signerOf('ES256', kid, () => generateKeyPairSync('ec', { namedCurve: 'P-256' }))
}

export function secretSigner(secret: string): Signer {
  const stranger = `${secret.slice(0, -1)}?`
  return {
    header: { alg: 'HS256' },
    sign: bySecret(secret),
    forge: bySecret(stranger),
    // What stands in place of the secret when it was not set, or not read.
    published: ['', 'undefined', 'null', 'secret', '[object Object]'].map((text) =>
      Buffer.from(text),
    ),
  }
}

interface Pair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

function signerOf(alg: 'RS256' | 'ES256', kid: string, make: () => Pair): Signer {
  const [own, stranger] = [make(), make()]
  const by =
    ({ privateKey: key }: Pair): Sign =>
    (input) =>
      signBytes('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  const jwkOf = ({ publicKey }: Pair): Members => ({ ...publicKey.export({ format: 'jwk' }), kid })
  return {
    header: { alg, kid },
    sign: by(own),
    forge: by(stranger),
    published: publicForms(own.publicKey),
    jwk: jwkOf(own),
    strangersJwk: jwkOf(stranger),
  }
}

function publicForms(key: KeyObject): readonly Buffer[] {
  const pem = key.export({ type: 'spki', format: 'pem' }).toString()
  const jwk = key.export({ format: 'jwk' })
  const forms = [pem, pem.trim(), pem.replaceAll('\n', ''), pem.replaceAll('\n', '\r\n')]
  const members = [JSON.stringify(jwk), jwk.n, jwk.x, jwk.y].filter((one) => one !== undefined)
  return [
    ...[...forms, ...members].map((text) => Buffer.from(text)),
    ...members.slice(1).map((text) => Buffer.from(text, 'base64url')),
    createPublicKey(key.export({ type: 'spki', format: 'pem' })).export({
      type: 'spki',
      format: 'der',
    }),
    Buffer.alloc(0),
  ]
}
