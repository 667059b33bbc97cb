/** HTTP/2 as bytes (RFC 9113): what a client of Node would not send, and what came back. */
import { once } from 'node:events'
import tls from 'node:tls'
import type { Scope } from './system.ts'

export const TYPE = {
  ...{ DATA: 0, HEADERS: 1, PRIORITY: 2, RST_STREAM: 3, SETTINGS: 4, PUSH_PROMISE: 5 },
  ...{ PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9 },
} as const

export const FLAG = { END_STREAM: 1, ACK: 1, END_HEADERS: 4 } as const

export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** RFC 9113, section 4.1. */
export function frame(type: number, flags: number, stream: number, payload?: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload?.length ?? 0, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return payload === undefined ? head : Buffer.concat([head, payload])
}

export type Lines = readonly (readonly [name: string, value: string])[]

/** RFC 7541, section 6.2.2: each name and value as it is. */
export function headerBlock(lines: Lines): Buffer {
  const pieces = lines.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)])
  return Buffer.concat(pieces)
}

function text(value: string): Buffer {
  const length = [Math.min(value.length, 127)]
  if (value.length >= 127) {
    let left = value.length - 127
    for (; left >= 128; left >>>= 7) length.push((left & 127) | 128)
    length.push(left)
  }
  return Buffer.concat([Buffer.from(length), Buffer.from(value, 'latin1')])
}

export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** RFC 9113, section 6.5. */
export function settings(values: Readonly<Record<number, number>>): Buffer {
  const pieces = Object.entries(values).map(([id, value]) =>
    Buffer.concat([Buffer.from([0, Number(id)]), word(value)]),
  )
  return frame(TYPE.SETTINGS, 0, 0, Buffer.concat(pieces))
}

export function reset(stream: number, code = 8): Buffer {
  return frame(TYPE.RST_STREAM, 0, stream, word(code))
}

export interface Http2Wire {
  readonly socket: tls.TLSSocket
  readonly frames: readonly Frame[]
  /** False once nobody reads it any more. */
  send(...bytes: readonly Buffer[]): boolean
  /** The first that does; undefined where the connection ends before. */
  until(wanted: (frame: Frame) => boolean): Promise<Frame | undefined>
  /** Whether the connection has ended. */
  ended(): boolean
  readonly closed: Promise<void>
}

/** A connection that has said the preface, and its settings. */
export async function dialHttp2(
  t: Scope,
  origin: string,
  ca: string,
  own: Readonly<Record<number, number>> = {},
): Promise<Http2Wire> {
  const { hostname, port } = new URL(origin)
  const socket = tls.connect({ port: Number(port), host: hostname, ca, ALPNProtocols: ['h2'] })
  t.after(() => socket.destroy())
  const frames: Frame[] = []
  let pending = Buffer.alloc(0)
  let isOver = false
  let changed = (): void => undefined
  socket.on('error', () => undefined)
  socket.on('data', (bytes: Buffer) => {
    pending = Buffer.concat([pending, bytes])
    for (let next = first(pending); next !== undefined; next = first(pending)) {
      frames.push(next)
      pending = pending.subarray(9 + next.payload.length)
    }
    changed()
  })
  const closed = new Promise<void>((resolve) =>
    socket.once('close', () => {
      isOver = true
      changed()
      resolve()
    }),
  )
  await once(socket, 'secureConnect')
  socket.write(Buffer.concat([Buffer.from(PREFACE), settings(own)]))
  return {
    socket,
    frames,
    closed,
    ended: () => isOver,
    send(...bytes) {
      return !isOver && socket.writable && socket.write(Buffer.concat(bytes))
    },
    async until(wanted) {
      for (;;) {
        const found = frames.find(wanted)
        if (found !== undefined || isOver) return found
        await new Promise<void>((resolve) => (changed = resolve))
      }
    },
  }
}

function first(bytes: Buffer): Frame | undefined {
  if (bytes.length < 9) return undefined
  const length = bytes.readUIntBE(0, 3)
  if (bytes.length < 9 + length) return undefined
  return {
    type: bytes[3]!,
    flags: bytes[4]!,
    stream: bytes.readUInt32BE(5),
    payload: bytes.subarray(9, 9 + length),
  }
}
