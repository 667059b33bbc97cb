import { createPublicKey } from 'node:crypto'
import { calculateJwkThumbprint, type JWK } from 'jose'

/**
 * What Auth0 shows of a key in place of its PEM: the SHA-256 thumbprint of the public key as a JWK (RFC 7638).
 *
 * @param pem a public key, a certificate, or the private key
 * @throws if it is none of these
 */
export function thumbprintOf(pem: string): Promise<string> {
  return calculateJwkThumbprint(createPublicKey(pem).export({ format: 'jwk' }) as JWK)
}

/** The public half, in the form that Auth0 accepts. */
export function publicPemOf(pem: string): string {
  return createPublicKey(pem).export({ format: 'pem', type: 'spki' }).toString()
}
