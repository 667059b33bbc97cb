import { constants, createHmac, type KeyObject, timingSafeEqual, verify } from 'node:crypto'

/** Whether the key made this signature over these bytes. False for a key of another kind as well. */
type Check = (key: KeyObject, signed: Buffer, signature: Buffer) => boolean

/** RFC 7518, section 3.2. */
function hmac(digest: string): Check {
  return (key, signed, signature) => {
    if (key.type !== 'secret') return false
    const mac = createHmac(digest, key).update(signed).digest()
    return signature.length === mac.length && timingSafeEqual(signature, mac)
  }
}

/** RFC 7518, section 3.3. */
function rsa(digest: string): Check {
  return (key, signed, signature) =>
    key.asymmetricKeyType === 'rsa' && verify(digest, signed, key, signature)
}

/** RFC 7518, section 3.5: the salt is exactly as long as the digest. */
function rsaPss(digest: string, saltLength: number): Check {
  const padding = constants.RSA_PKCS1_PSS_PADDING
  return (key, signed, signature) =>
    key.asymmetricKeyType === 'rsa' &&
    verify(digest, signed, { key, padding, saltLength }, signature)
}

/** RFC 7518, section 3.4: two numbers of fixed length. Never DER, in which one signature has many spellings. */
function ecdsa(digest: string, namedCurve: string, numberBytes: number): Check {
  return (key, signed, signature) =>
    key.asymmetricKeyType === 'ec' &&
    key.asymmetricKeyDetails?.namedCurve === namedCurve &&
    signature.length === 2 * numberBytes &&
    verify(digest, signed, { key, dsaEncoding: 'ieee-p1363' }, signature)
}

/** RFC 8037, section 3.1. */
const ed25519: Check = (key, signed, signature) =>
  key.asymmetricKeyType === 'ed25519' && verify(null, signed, key, signature)

const CHECKS: ReadonlyMap<string, Check> = new Map([
  ['HS256', hmac('sha256')],
  ['HS384', hmac('sha384')],
  ['HS512', hmac('sha512')],
  ['RS256', rsa('sha256')],
  ['RS384', rsa('sha384')],
  ['RS512', rsa('sha512')],
  ['PS256', rsaPss('sha256', 32)],
  ['PS384', rsaPss('sha384', 48)],
  ['PS512', rsaPss('sha512', 64)],
  ['ES256', ecdsa('sha256', 'prime256v1', 32)],
  ['ES384', ecdsa('sha384', 'secp384r1', 48)],
  ['ES512', ecdsa('sha512', 'secp521r1', 66)],
  ['EdDSA', ed25519],
  // RFC 9864, section 2.2.
  ['Ed25519', ed25519],
])

/**
 * Whether a key signed a token (RFC 7515, section 5.2), by the given algorithm, whatever the token's header says. It is
 * synchronous: WebCrypto, which jose uses, hands each check to a thread and back, which costs more than most of these
 * checks. Does NOT look at the header, nor at how strong the key is (see `rsaWeakness`).
 *
 * @param token in canonical compact form
 * @throws {TypeError} for an unknown algorithm
 */
export function isSigned(token: string, algorithm: string, key: KeyObject): boolean {
  const check = CHECKS.get(algorithm)
  if (check === undefined) throw new TypeError(`no such signature algorithm: ${algorithm}`)
  const end = token.lastIndexOf('.')
  const signed = Buffer.from(token.slice(0, end), 'latin1')
  return check(key, signed, Buffer.from(token.slice(end + 1), 'base64url'))
}
