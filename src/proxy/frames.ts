import { randomBytes } from 'node:crypto'

const CLOSE = 8

/**
 * Follows one direction of a WebSocket by the heads of its frames (RFC 6455, section 5.2), to find where a frame of the
 * gateway's could be inserted. It skips payloads and validates nothing: bytes that are no WebSocket give no such place, or a
 * wrong one in a stream that means nothing anyway.
 */
export class Frames {
  /** Bytes of the current head that have arrived. */
  #seen = 0
  #masked = false
  #extended = 0
  #length = 0
  /** Bytes of the masking key and payload that are still to come. */
  #left = 0
  #closing = false

  /** Whether a frame may be inserted here: none is under way, and none was a close frame (section 5.5.1). */
  get isBetween(): boolean {
    return this.#seen === 0 && this.#left === 0 && !this.#closing
  }

  /** Follows a piece; with `stop` only up to the next place between frames. Returns how many bytes it followed. */
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
 * A close frame with a status and its reason (RFC 6455, section 5.5.1), masked where it goes to a server (section 5.3). The
 * reason has at most 123 bytes.
 */
export function closeFrame(status: number, reason: string, to: 'client' | 'server'): Buffer {
  const payload = Buffer.concat([Buffer.from([status >> 8, status & 0xff]), Buffer.from(reason)])
  if (to === 'client') return Buffer.concat([Buffer.from([0x80 | CLOSE, payload.length]), payload])
  const mask = randomBytes(4)
  const masked = payload.map((byte, at) => byte ^ mask[at % 4]!)
  return Buffer.concat([Buffer.from([0x80 | CLOSE, 0x80 | payload.length]), mask, masked])
}
