/** Makes client assertions as a caller does (RFC 7523, section 2.2), with jose, and as no caller should. */
import { generateKeyPairSync, randomUUID, type KeyObject } from 'node:crypto'
import { type Given, ORIGIN, signedBy } from './proofs.ts'

export const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** A client that signs who it is. */
export interface Signer {
  readonly privateKey: KeyObject
  /** In PEM, as a configuration has them. */
  readonly pem: { readonly publicKey: string; readonly privateKey: string }
  /** Whatever is given stands over what is right; undefined takes it away. */
  assertion(given?: Given): Promise<string>
}

const KINDS = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
}

export function signer(alg: keyof typeof KINDS = 'ES256', clientId = 'storefront'): Signer {
  const { privateKey, publicKey } = KINDS[alg]()
  return {
    privateKey,
    pem: {
      publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    },
    assertion: ({ header = {}, claims = {} } = {}) =>
      signedBy(privateKey, { alg, ...header }, { ...claimsOf(clientId), ...claims }),
  }
}

export function claimsOf(clientId: string): object {
  const now = Math.floor(Date.now() / 1_000)
  return {
    ...{ iss: clientId, sub: clientId, aud: ORIGIN },
    ...{ jti: randomUUID(), iat: now, exp: now + 60 },
  }
}
