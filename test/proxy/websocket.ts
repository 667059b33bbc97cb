/** Both ends of a WebSocket by hand: nothing here knows how the gateway reads frames. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import net, { type Socket } from 'node:net'
import { listen, type Scope } from '../system.ts'

export interface Frame {
  readonly opcode: number
  readonly payload: Buffer
  readonly masked: boolean
}

export const TEXT = 1
export const CLOSE = 8
export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** RFC 6455, section 5.2. */
export function frame(opcode: number, payload: Buffer | string, masked: boolean): Buffer {
  const bytes = Buffer.from(payload)
  const { length } = bytes
  const bit = masked ? 0x80 : 0
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10)
  head[0] = 0x80 | opcode
  head[1] = bit | (length < 126 ? length : length < 65_536 ? 126 : 127)
  if (head.length === 4) head.writeUInt16BE(length, 2)
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2)
  if (!masked) return Buffer.concat([head, bytes])
  const mask = randomBytes(4)
  return Buffer.concat([head, mask, bytes.map((byte, at) => byte ^ mask[at % 4]!)])
}

/** Takes whole frames off the front of what came, and gives what is left. */
export function framesOf(bytes: Buffer): { readonly frames: Frame[]; readonly rest: Buffer } {
  const frames: Frame[] = []
  let at = 0
  for (;;) {
    if (bytes.length < at + 2) break
    const short = bytes[at + 1]! & 0x7f
    const extended = short === 126 ? 2 : short === 127 ? 8 : 0
    const masked = bytes[at + 1]! > 0x7f
    const start = at + 2 + extended + (masked ? 4 : 0)
    if (bytes.length < start) break
    const length =
      extended === 0
        ? short
        : extended === 2
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2))
    if (bytes.length < start + length) break
    const mask = bytes.subarray(start - 4, start)
    const payload = bytes.subarray(start, start + length)
    frames.push({
      opcode: bytes[at]! & 0x0f,
      payload: masked
        ? Buffer.from(payload.map((byte, index) => byte ^ mask[index % 4]!))
        : payload,
      masked,
    })
    at = start + length
  }
  return { frames, rest: bytes.subarray(at) }
}

export function statusOf({ opcode, payload }: Frame): number | undefined {
  return opcode === CLOSE ? payload.readUInt16BE(0) : undefined
}

/** One end of an open WebSocket. */
export interface End {
  readonly socket: Socket
  send(opcode: number, payload: Buffer | string): boolean
  /** The next frame; rejects when the connection ends before it. */
  next(): Promise<Frame>
  readonly closed: Promise<unknown>
}

function endOf(socket: Socket, isClient: boolean, first: Buffer): End {
  const frames: Frame[] = []
  let rest: Buffer = first
  let told = (): void => undefined
  let over = false
  const read = (piece: Buffer): void => {
    const found = framesOf(Buffer.concat([rest, piece]))
    frames.push(...found.frames)
    rest = found.rest
    told()
  }
  socket.on('data', read)
  socket.on('error', () => undefined)
  const closed = once(socket, 'close').then(() => {
    over = true
    told()
  })
  read(Buffer.alloc(0))
  return {
    socket,
    closed,
    send: (opcode, payload) => socket.write(frame(opcode, payload, isClient)),
    async next() {
      while (frames.length === 0) {
        if (over) throw new Error('the connection ended before a frame')
        await new Promise<void>((resolve) => (told = resolve))
      }
      return frames.shift()!
    },
  }
}

export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

export interface WebSocketUpstream {
  readonly origin: string
  /** The handshakes that came. */
  readonly received: http.IncomingMessage[]
  /** The other requests that came. */
  readonly plain: http.IncomingMessage[]
  /** The end of the next WebSocket that opens. */
  opened(): Promise<End>
}

/** What an upstream answers a handshake with: lines after the status line, or all of it. */
export type AnswerTo = (request: http.IncomingMessage) => string

export function accepting(request: http.IncomingMessage): string {
  const accept = acceptOf(request.headers['sec-websocket-key'] ?? '')
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
}

/** Echoes text, and answers a last frame with one of its own, unless told otherwise. */
export async function startWebSockets(
  t: Scope,
  answer: AnswerTo = accepting,
  serve: (end: End) => void = (end) => void echo(end),
): Promise<WebSocketUpstream> {
  const received: http.IncomingMessage[] = []
  const plain: http.IncomingMessage[] = []
  const ends: End[] = []
  let told = (): void => undefined
  const server = http.createServer((request, response) => {
    plain.push(request)
    request.resume().on('end', () => response.end('plain'))
  })
  server.on('upgrade', (request, socket: Socket, head) => {
    received.push(request)
    t.after(() => socket.destroy())
    socket.on('error', () => undefined)
    socket.on('end', () => socket.end())
    socket.write(answer(request), 'latin1')
    const end = endOf(socket, false, head)
    ends.push(end)
    told()
    serve(end)
  })
  const origin = await listen(t, server)
  return {
    ...{ origin, received, plain },
    async opened() {
      while (ends.length === 0) await new Promise<void>((resolve) => (told = resolve))
      return ends.shift()!
    },
  }
}

async function echo(end: End): Promise<void> {
  try {
    for (;;) {
      const { opcode, payload } = await end.next()
      end.send(opcode, payload)
      if (opcode === CLOSE) end.socket.end()
    }
  } catch {
    end.socket.destroy()
  }
}

export interface Opened extends End {
  readonly status: number
  /** All of the answer's head. */
  readonly head: string
  /** What follows the head of an answer that opened nothing, when the connection has ended. */
  body(): Promise<string>
}

export interface OpenOptions {
  readonly token?: string
  readonly target?: string
  readonly method?: string
  /** Lines beside those of a usual handshake, or in place of them. */
  readonly headers?: readonly string[]
  /** In place of the usual handshake's own. */
  readonly handshake?: readonly string[]
  /** What is sent in one piece with the request. */
  readonly early?: Buffer | string
}

export const HANDSHAKE: readonly string[] = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  `Sec-WebSocket-Key: ${KEY}`,
]

/** Asks for a WebSocket, and waits for the head of the answer. */
export async function openWebSocket(
  t: Scope,
  origin: string,
  { token, target = '/orders', method = 'GET', ...options }: OpenOptions = {},
): Promise<Opened> {
  const { headers = [], handshake = HANDSHAKE, early = '' } = options
  const { hostname, port } = new URL(origin)
  const socket = net.connect(Number(port), hostname)
  t.after(() => socket.destroy())
  socket.on('error', () => undefined)
  const authorization =
    token === undefined || token === '' ? [] : [`Authorization: Bearer ${token}`]
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: gateway.example']
  const head = [...lines, ...authorization, ...handshake, ...headers, '', ''].join('\r\n')
  socket.write(Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(early)]))
  return answered(socket)
}

async function answered(socket: Socket): Promise<Opened> {
  let bytes: Buffer = Buffer.alloc(0)
  const read = (piece: Buffer): void => void (bytes = Buffer.concat([bytes, piece]))
  socket.on('data', read)
  while (!bytes.includes('\r\n\r\n')) {
    if (socket.destroyed) throw new Error(`ended within the head: ${bytes.toString('latin1')}`)
    await Promise.race([once(socket, 'data'), once(socket, 'close')])
  }
  socket.off('data', read)
  const length = bytes.indexOf('\r\n\r\n') + 4
  const head = bytes.toString('latin1', 0, length)
  const status = Number(/^HTTP\/1\.1 (\d+) /.exec(head)?.[1])
  const rest = bytes.subarray(length)
  let body = rest.toString('latin1')
  socket.on('data', (piece: Buffer) => (body += piece.toString('latin1')))
  const end = endOf(socket, true, rest)
  return {
    ...end,
    ...{ status, head },
    async body() {
      await end.closed
      return body
    },
  }
}
