import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { invalidBody } from './failure.ts'

/**
 * The RSA key of a public key or a certificate.
 *
 * @throws {Failure} 400 `invalid_body`
 */
export function publicKeyOf(pem: string): KeyObject {
  const key = read(pem)
  if (key?.asymmetricKeyType !== 'rsa') invalidBody('The pem must hold an RSA public key')
  return key
}

/** RFC 7638: Auth0 shows this thumbprint in place of the key. */
export function thumbprintOf(pem: string): string {
  const { e, kty, n } = publicKeyOf(pem).export({ format: 'jwk' })
  return createHash('sha256').update(JSON.stringify({ e, kty, n })).digest('base64url')
}

/** Undefined for a private key, too, which should not have been sent. */
function read(pem: string): KeyObject | undefined {
  if (pem.includes('PRIVATE KEY')) return undefined
  try {
    return createPublicKey(pem)
  } catch {
    return undefined
  }
}
