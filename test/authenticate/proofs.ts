/** Makes proofs as a caller does (RFC 9449, section 4.2), with jose, and as no caller should. */
import { generateKeyPairSync, hash, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, CompactSign, type JWK } from 'jose'

export const ORIGIN = 'https://gateway.example'

export interface Holder {
  readonly alg: string
  readonly privateKey: KeyObject
  readonly jwk: JWK
  /** What `cnf.jkt` says of a token that is bound to this key. */
  readonly jkt: string
  /** Whatever is given stands over what is right; undefined takes it away. */
  proof(token: string, given?: Given): Promise<string>
}

export interface Given {
  readonly header?: object
  readonly claims?: object
}

const KINDS = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
  Ed25519: () => generateKeyPairSync('ed25519'),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }),
}

export async function holder(alg: keyof typeof KINDS = 'ES256'): Promise<Holder> {
  const { privateKey, publicKey } = KINDS[alg]()
  const jwk = publicKey.export({ format: 'jwk' }) as JWK
  return {
    ...{ alg, privateKey, jwk, jkt: await calculateJwkThumbprint(jwk) },
    proof: (token, { header = {}, claims = {} } = {}) =>
      signedBy(
        privateKey,
        { typ: 'dpop+jwt', alg, jwk, ...header },
        {
          jti: crypto.randomUUID(),
          htm: 'GET',
          htu: `${ORIGIN}/orders`,
          iat: Math.floor(Date.now() / 1_000),
          ath: hash('sha256', token, 'base64url'),
          ...claims,
        },
      ),
  }
}

export function signedBy(
  key: KeyObject | Uint8Array,
  header: { readonly alg: string; readonly [name: string]: unknown },
  claims: object,
): Promise<string> {
  return new CompactSign(Buffer.from(JSON.stringify(claims))).setProtectedHeader(header).sign(key)
}
