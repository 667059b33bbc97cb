import { randomBytes } from 'node:crypto'

const CLOSE = 8

/**
 * Follows one direction of a WebSocket by the heads of its frames (RFC 6455, section 5.2), to know where a frame of ours
 * could stand. Payloads are passed by, and nothing is judged: what is no WebSocket shows no place, or a wrong one in bytes
 * that mean nothing anyway.
 */
export class Frames {
  /** Bytes of the head that came. */
  #seen = 0
  #masked = false
  #extended = 0
  #length = 0
  /** Bytes of the masking key and payload that are to come. */
  #left = 0
  #closing = false

  /** Whether another frame may stand here: none has begun, and none was the last (section 5.5.1). */
  get isBetween(): boolean {
    return this.#seen === 0 && this.#left === 0 && !this.#closing
  }

  /** Follows a piece, or with `stop` what of it comes before the next place between frames. How many bytes that were. */
  follow(piece: Buffer, stop = false): number {
    let at = 0
    while (at < piece.length && !(stop && this.isBetween)) {
      if (this.#left === 0) this.#read(piece[at++]!)
      else {
        const passed = Math.min(this.#left, piece.length - at)
        this.#left -= passed
        at += passed
      }
    }
    return at
  }

  #read(byte: number): void {
    if (this.#seen === 0) {
      this.#closing ||= (byte & 0x0f) === CLOSE
    } else if (this.#seen === 1) {
      this.#masked = byte > 0x7f
      const length = byte & 0x7f
      this.#extended = length === 126 ? 2 : length === 127 ? 8 : 0
      this.#length = this.#extended === 0 ? length : 0
    } else {
      this.#extended--
      this.#length = this.#length * 256 + byte
    }
    if (++this.#seen < 2 || this.#extended > 0) return
    this.#left = this.#length + (this.#masked ? 4 : 0)
    this.#seen = 0
  }
}

/**
 * The last frame of a direction, with a status and its reason (RFC 6455, section 5.5.1). What goes to a server is masked
 * (section 5.3). The reason has at most 123 bytes.
 */
export function closeFrame(status: number, reason: string, to: 'client' | 'server'): Buffer {
  const payload = Buffer.concat([Buffer.from([status >> 8, status & 0xff]), Buffer.from(reason)])
  if (to === 'client') return Buffer.concat([Buffer.from([0x80 | CLOSE, payload.length]), payload])
  const mask = randomBytes(4)
  const masked = payload.map((byte, at) => byte ^ mask[at % 4]!)
  return Buffer.concat([Buffer.from([0x80 | CLOSE, 0x80 | payload.length]), mask, masked])
}
