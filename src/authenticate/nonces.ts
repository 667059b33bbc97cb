import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** Makes nonces for proofs (RFC 9449, section 9), and knows them again, without keeping any. */
export interface Nonces {
  make(): string
  /** When it was made, in epoch milliseconds; undefined where it was not made here. */
  madeAt(nonce: string): number | undefined
}

const TIME_BYTES = 6
const MAC_BYTES = 18
const LENGTH = 32

type Secret = string | Uint8Array

/**
 * A nonce is the time and its HMAC: who cannot make them cannot sign a proof ahead of time.
 *
 * @param secrets the same in all processes that take each other's nonces: the first makes them, each knows its own again.
 *   Default: one of this process alone
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
