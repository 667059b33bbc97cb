import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** Makes nonces for proofs (RFC 9449, section 9), and recognises its own without storing them. */
export interface Nonces {
  make(): string
  /** When the nonce was made, in epoch milliseconds; undefined where it was not made with one of the secrets. */
  madeAt(nonce: string): number | undefined
}

const TIME_BYTES = 6
const MAC_BYTES = 18
const LENGTH = 32

type Secret = string | Uint8Array

/**
 * A nonce is the time with its HMAC. Callers cannot make one, so they cannot sign proofs ahead of time.
 *
 * @param secrets the first makes nonces, and any of them recognises nonces that it made. Processes that take each other's
 *   nonces need the same secrets. Default: a random one of this process
 */
export function createNonces(secrets: readonly Secret[] = [randomBytes(32)]): Nonces {
  const [first] = secrets
  if (first === undefined) throw new RangeError('there must be a secret')
  const macOf = (secret: Secret, time: Uint8Array): Buffer =>
    createHmac('sha256', secret)
      .update('behalf DPoP nonce')
      .update(time)
      .digest()
      .subarray(0, MAC_BYTES)
  return {
    make() {
      const time = Buffer.alloc(TIME_BYTES)
      time.writeUIntBE(Date.now(), 0, TIME_BYTES)
      return Buffer.concat([time, macOf(first, time)]).toString('base64url')
    },
    madeAt(nonce) {
      const bytes = nonce.length === LENGTH ? Buffer.from(nonce, 'base64url') : undefined
      if (bytes?.length !== TIME_BYTES + MAC_BYTES) return undefined
      const time = bytes.subarray(0, TIME_BYTES)
      const mac = bytes.subarray(TIME_BYTES)
      const isOurs = secrets.some((secret) => timingSafeEqual(mac, macOf(secret, time)))
      return isOurs ? time.readUIntBE(0, TIME_BYTES) : undefined
    },
  }
}
