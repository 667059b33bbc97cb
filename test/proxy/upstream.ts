import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import type { Route } from '../../src/config/config.ts'
import { errorAnswer, GatewayError, asGatewayError } from '../../src/errors.ts'
import type { IssuedToken } from '../../src/exchange/issued.ts'
import { CallerGone } from '../../src/proxy/caller.ts'
import { createProxy, type ProxyOptions } from '../../src/proxy/proxy.ts'
import { canonicalTarget } from '../../src/route/target.ts'
import type { Scope } from '../system.ts'

export const LIMITS: Route['proxy']['limits'] = {
  ...{ body: undefined, headers: undefined, headerCount: 100 },
  ...{ idleMs: 30_000, totalMs: undefined, inFlight: undefined, rates: [] },
}

/** A route of which only `proxy` counts here. */
export function route(upstream: string, proxy: Partial<Route['proxy']> = {}): Route {
  return {
    name: 'test',
    proxy: {
      upstreams: [{ url: upstream, weight: 1 }],
      ...{ strip: '', prefix: '', retries: 1 },
      ...{ tls: undefined, headers: undefined, websocket: undefined, http2: false },
      timeoutMs: 30_000,
      connectTimeoutMs: 2_000,
      cookies: 'strip',
      limits: LIMITS,
      ...proxy,
    } satisfies Route['proxy'],
  } as Route
}

export function token(value = 'issued', scheme: 'Bearer' | 'none' = 'Bearer'): IssuedToken {
  return { scheme, value, expiresAt: Date.now() + 60_000, scopes: [] }
}

export interface StartOptions extends ProxyOptions {
  readonly token?: IssuedToken
  readonly proxy?: Partial<Route['proxy']>
  /** Of the subject token. */
  readonly claims?: Readonly<Record<string, unknown>>
}

export interface Started {
  readonly port: number
  readonly url: string
  /** What became of each request: an outcome, the code of a failure, or `gone`. */
  readonly outcomes: string[]
  readonly failures: unknown[]
  /** Waits until that many requests have an outcome. */
  settled(count: number): Promise<void>
  readonly server: http.Server
}

/** The proxy step behind a bare server, which renders failures as the gateway would. */
export async function startProxy(
  t: TestContext,
  upstream: string,
  options: StartOptions = {},
): Promise<Started> {
  const proxy = createProxy(options)
  const to = route(upstream, options.proxy)
  const issued = options.token ?? token()
  const outcomes: string[] = []
  const failures: unknown[] = []
  let told = (): void => undefined
  const handle = async (
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): Promise<void> => {
    try {
      const target = canonicalTarget(request.url ?? '', request.headers)
      const subject = options.claims && { claims: options.claims }
      const passage = { request, response, target, id: 'id-1', subject }
      const outcome = await proxy(passage, to, issued)
      outcomes.push(outcome)
      if (outcome === 'token_rejected') {
        respond(response, new GatewayError('upstream_rejected_token', 'refused'))
      }
    } catch (error) {
      failures.push(error)
      outcomes.push(error instanceof CallerGone ? 'gone' : asGatewayError(error).code)
      if (!response.headersSent && !response.destroyed) respond(response, asGatewayError(error))
    }
    told()
  }
  const server = http.createServer({ requestTimeout: 0 }, (request, response) => {
    void handle(request, response)
  })
  server.on('checkContinue', (request, response) => void handle(request, response))
  server.on('checkExpectation', (request, response) => void handle(request, response))
  const port = await listen(t, server)
  t.after(async () => {
    server.closeAllConnections()
    await Promise.race([proxy.close(), new Promise((resolve) => setTimeout(resolve, 500).unref())])
  })
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    outcomes,
    failures,
    server,
    async settled(count) {
      while (outcomes.length < count) await new Promise<void>((resolve) => (told = resolve))
    },
  }
}

function respond(response: http.ServerResponse, error: GatewayError): void {
  const { status, headers, body } = errorAnswer(error, 'id-1')
  response.writeHead(status, headers)
  response.end(body)
}

export async function listen(t: Scope, server: net.Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    if (server instanceof http.Server) server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

export async function startHttp(t: TestContext, listener: http.RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(t, http.createServer(listener))}`
}

/** One request as it stood on the wire. */
export interface Recorded {
  readonly method: string
  readonly path: string
  /** Names in lower case, in order. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
}

export interface Recorder {
  readonly url: string
  readonly requests: Recorded[]
  /** Everything received, over all connections. */
  raw(): string
  header(index: number, name: string): string[]
  /** How many bytes no request accounts for. */
  leftOver(): number
  /** Waits until every connection has ended: nothing more can come. */
  ended(): Promise<void>
}

/**
 * An upstream that believes nothing but the bytes: it parses requests out of the stream by the letter of RFC 9112, one
 * after the other, so that a body without a frame shows up as another request. Without `raw` it forgets the bytes.
 */
export async function startRecorder(
  t: Scope,
  answer = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  { raw = true }: { readonly raw?: boolean } = {},
): Promise<Recorder> {
  const requests: Recorded[] = []
  let everything = ''
  let unread = 0
  const sockets = new Set<Socket>()
  const server = net.createServer((socket) => {
    let pending = ''
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      pending += chunk.toString('latin1')
      unread += chunk.length
      if (raw) everything += chunk.toString('latin1')
      for (let next = parse(pending); next !== undefined; next = parse(pending)) {
        requests.push(next.request)
        pending = pending.slice(next.length)
        unread -= next.length
        socket.write(answer)
      }
    })
  })
  t.after(() => sockets.forEach((socket) => socket.destroy()))
  const port = await listen(t, server)
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    raw: () => everything,
    header: (index, name) =>
      (requests[index]?.headers ?? [])
        .filter(([known]) => known === name)
        .map(([, value]) => value),
    leftOver: () => unread,
    ended: async () => {
      for (const socket of sockets) {
        await new Promise((resolve) => socket.once('close', resolve))
      }
    },
  }
}

function parse(text: string): { readonly request: Recorded; readonly length: number } | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const [line = '', ...lines] = text.slice(0, end).split('\r\n')
  const [method = '', path = ''] = line.split(' ')
  const headers = lines.map((header): readonly [string, string] => {
    const colon = header.indexOf(':')
    return [header.slice(0, colon).toLowerCase(), header.slice(colon + 1).trim()]
  })
  const value = (name: string) => headers.find(([known]) => known === name)?.[1]
  let body = ''
  let position = end + 4
  if (value('transfer-encoding') === 'chunked') {
    for (;;) {
      const stop = text.indexOf('\r\n', position)
      if (stop < 0) return undefined
      const size = Number.parseInt(text.slice(position, stop), 16)
      if (text.length < stop + 2 + size + 2) return undefined
      body += text.slice(stop + 2, stop + 2 + size)
      position = stop + 2 + size + 2
      if (size === 0) break
    }
  } else {
    const length = Number(value('content-length') ?? 0)
    if (text.length < position + length) return undefined
    body = text.slice(position, position + length)
    position += length
  }
  return { request: { method, path, headers, body }, length: position }
}

export interface Wire {
  readonly socket: Socket
  /** What has come so far. */
  readonly text: () => string
  /** Waits until the pattern has come; rejects when the connection ends first. */
  until(pattern: RegExp): Promise<string>
  /** Waits until the connection has ended, and tells how. */
  readonly closed: Promise<'end' | 'reset'>
}

/** A caller that sends bytes as they are. */
export async function dial(t: Scope, port: number): Promise<Wire> {
  const socket = net.connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  let text = ''
  let how: 'end' | 'reset' = 'end'
  socket.on('data', (chunk) => (text += chunk.toString('latin1')))
  socket.on('error', () => (how = 'reset'))
  const closed = new Promise<'end' | 'reset'>((resolve) => socket.on('close', () => resolve(how)))
  await once(socket, 'connect')
  return {
    socket,
    text: () => text,
    closed,
    async until(pattern) {
      while (!pattern.test(text)) {
        await new Promise<void>((resolve, reject) => {
          const closing = (): void => reject(new Error(`ended before ${pattern}: ${text}`))
          if (socket.destroyed) closing()
          socket.once('close', closing)
          socket.once('data', () => {
            socket.off('close', closing)
            resolve()
          })
        })
      }
      return text
    },
  }
}

/** Sends one request as raw text on a connection of its own, and gives what came back once it has all come. */
export async function ask(t: TestContext, port: number, text: string): Promise<string> {
  const wire = await dial(t, port)
  wire.socket.write(text, 'latin1')
  await wire.until(/\r\n\r\n/)
  const length = /content-length: (\d+)/i.exec(wire.text())?.[1]
  const head = wire.text().indexOf('\r\n\r\n') + 4
  if (length !== undefined && !text.startsWith('HEAD')) {
    await wire.until(new RegExp(`\\r\\n\\r\\n[^]{${length}}`))
  }
  wire.socket.destroy()
  return length === undefined ? wire.text() : wire.text().slice(0, head + Number(length))
}

export interface Deferred {
  readonly promise: Promise<void>
  readonly resolve: () => void
}

export function deferred(): Deferred {
  let resolve = (): void => undefined
  const promise = new Promise<void>((resolved) => (resolve = resolved))
  return { promise, resolve }
}
