/** What an attacker has: bytes on a connection, and an upstream that answers bytes. */
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

/** One answer as it stood on the wire, framed by its Content-Length. */
export interface Answered {
  readonly status: number
  readonly head: string
  readonly body: string
  /** Of problem+json. */
  readonly code: string | undefined
}

export interface Line {
  readonly socket: Socket
  send(bytes: string): void
  /** The next answer; undefined where the connection ends without one. */
  next(): Promise<Answered | undefined>
}

export async function dial(t: TestContext, origin: string): Promise<Line> {
  const socket = net.connect(Number(new URL(origin).port), '127.0.0.1')
  t.after(() => socket.destroy())
  let text = ''
  let changed = (): void => undefined
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    changed()
  })
  socket.on('error', () => undefined)
  socket.on('close', () => changed())
  await once(socket, 'connect')

  async function next(): Promise<Answered | undefined> {
    for (;;) {
      const answer = first(text)
      if (answer !== undefined) {
        text = text.slice(answer.head.length + answer.body.length)
        return answer
      }
      if (socket.destroyed) return undefined
      await new Promise<void>((resolve) => (changed = resolve))
    }
  }

  return { socket, send: (bytes) => void socket.write(bytes, 'latin1'), next }
}

function first(text: string): Answered | undefined {
  const end = text.indexOf('\r\n\r\n') + 4
  if (end < 4) return undefined
  const head = text.slice(0, end)
  const status = Number(head.slice(9, 12))
  const told = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0)
  const length = status === 204 || status === 304 ? 0 : told
  if (text.length < end + length) return undefined
  const body = text.slice(end, end + length)
  return { status, head, body, code: /"code":"(\w+)"/.exec(body)?.[1] }
}

/** Sends bytes on a connection of their own. */
export async function ask(t: TestContext, origin: string, bytes: string): Promise<Answered> {
  const line = await dial(t, origin)
  line.send(bytes)
  const answer = await line.next()
  line.socket.destroy()
  return answer ?? { status: 0, head: '', body: '', code: undefined }
}

/** `headers` are whole lines, without the last line's end. */
export function request(start: string, headers: readonly string[], body = ''): string {
  return [`${start} HTTP/1.1`, 'Host: gateway', ...headers, '', body].join('\r\n')
}

export const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

export interface RawUpstream {
  readonly origin: string
  /** What the upstream writes for each request that has come whole. Requests here have no body. */
  answer: (socket: Socket, head: string) => void
  readonly heads: string[]
  readonly open: Set<Socket>
}

export async function startRawUpstream(t: TestContext): Promise<RawUpstream> {
  const heads: string[] = []
  const open = new Set<Socket>()
  const server = net.createServer((socket) => {
    let pending = ''
    open.add(socket)
    socket.on('close', () => open.delete(socket)).on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      pending += chunk.toString('latin1')
      for (let end = pending.indexOf('\r\n\r\n'); end >= 0; end = pending.indexOf('\r\n\r\n')) {
        const head = pending.slice(0, end + 2)
        pending = pending.slice(end + 4)
        heads.push(head)
        upstream.answer(socket, head)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    open.forEach((socket) => socket.destroy())
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const upstream: RawUpstream = {
    origin: `http://127.0.0.1:${port}`,
    answer: (socket) => void socket.write(OK),
    heads,
    open,
  }
  return upstream
}
