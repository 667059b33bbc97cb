import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import http2, { constants } from 'node:http2'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import { before, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAuthority, NO_OPENSSL, type Authority, type Pair } from '../certificates.ts'
import { startIssuer } from '../issuer.ts'
import { bearer, claimsOf, oneRoute, startGateway, type Gateway } from '../system.ts'

let authority: Authority
let own: Pair
before(() => {
  if (NO_OPENSSL !== false) return
  authority = createAuthority()
  own = authority.issue('gateway')
})

const unless = { skip: NO_OPENSSL }

type Serve = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void

interface Upstream {
  readonly origin: string
  readonly received: http2.IncomingHttpHeaders[]
  /** How many connections it got. */
  connections(): number
  readonly server: http2.Http2Server
}

/** Speaks HTTP/2 alone: in the clear, or over TLS. */
async function startUpstream(t: TestContext, serve: Serve, secure = false): Promise<Upstream> {
  const received: http2.IncomingHttpHeaders[] = []
  const server = secure
    ? http2.createSecureServer({ cert: own.certificate, key: own.key })
    : http2.createServer()
  const sessions = new Set<http2.Http2Session>()
  let connections = 0
  server.on('session', (session) => {
    connections++
    sessions.add(session)
    session.on('error', () => undefined)
  })
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    received.push(headers)
    stream.on('error', () => undefined)
    serve(stream, headers)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const scheme = secure ? 'https' : 'http'
  return {
    origin: `${scheme}://127.0.0.1:${port}`,
    received,
    connections: () => connections,
    server,
  }
}

/** Answers with what came, and says in trailers how it went. */
const echo: Serve = (stream) => {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () =>
    stream.sendTrailers({ 'grpc-status': '0', 'grpc-message': 'fine', 'x-behalf-own': 'no' }),
  )
  stream.pipe(stream)
}

interface World {
  readonly gateway: Gateway
  readonly token: string
  readonly session: http2.ClientHttp2Session
  call(path?: string): http2.ClientHttp2Stream
}

async function world(t: TestContext, upstream: string, proxy: object = {}): Promise<World> {
  const issuer = await startIssuer(t)
  const authorities = upstream.startsWith('https:') && {
    tls: { authorities: authority.certificate },
  }
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream, proxy: { http2: true, ...authorities, ...proxy } }),
    server: { listen: '127.0.0.1:0', tls: { certificate: own.certificate, key: own.key } },
  })
  const session = http2.connect(gateway.origin, { ca: authority.certificate })
  session.on('error', () => undefined)
  t.after(() => session.destroy())
  const token = await issuer.token()
  return {
    ...{ gateway, token, session },
    call(path = '/orders/Service/Method') {
      const stream = session.request({
        ...{ ':method': 'POST', ':path': path, te: 'trailers' },
        ...{ 'content-type': 'application/grpc', authorization: `Bearer ${token}` },
      })
      return stream.on('error', () => undefined)
    },
  }
}

interface Outcome {
  readonly headers: http2.IncomingHttpHeaders
  readonly trailers: http2.IncomingHttpHeaders
  readonly body: string
  readonly reset: number
  /** Whether the head was all of it. */
  readonly headOnly: boolean
}

async function outcomeOf(stream: http2.ClientHttp2Stream): Promise<Outcome> {
  let headers: http2.IncomingHttpHeaders = {}
  let trailers: http2.IncomingHttpHeaders = {}
  let headOnly = false
  let body = ''
  stream.on('response', (received, flags) => {
    headers = received
    headOnly = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
  })
  stream.on('trailers', (received) => (trailers = received))
  stream.on('data', (piece: Buffer) => (body += piece.toString('latin1')))
  await new Promise((resolve) => stream.once('close', resolve))
  return { headers, trailers, body, headOnly, reset: stream.rstCode ?? 0 }
}

for (const [over, secure] of [
  ['TLS', true],
  ['HTTP/2 in the clear', false],
] as const) {
  test(
    `a unary call goes with the issued token over ${over}, and its trailers come back`,
    unless,
    async (t) => {
      const upstream = await startUpstream(t, echo, secure)
      const { call, token } = await world(t, upstream.origin)
      const stream = call()
      stream.end('message')
      const { headers, trailers, body, reset } = await outcomeOf(stream)
      assert.deepEqual([headers[':status'], body, reset], [200, 'message', 0])
      assert.deepEqual([trailers['grpc-status'], trailers['grpc-message']], ['0', 'fine'])
      assert.equal(trailers['x-behalf-own'], undefined)
      const [received = assert.fail()] = upstream.received
      assert.equal(received[':path'], '/orders/Service/Method')
      assert.equal(received[':authority'], new URL(upstream.origin).host)
      assert.equal(received[':scheme'], secure ? 'https' : 'http')
      assert.equal(received.te, 'trailers')
      assert.equal(received['content-length'], undefined)
      assert.equal(claimsOf(received.authorization)['aud'], 'https://orders.internal')
      assert.ok(!JSON.stringify(received).includes(token))
    },
  )
}

test('an answer that is all head stays one', unless, async (t) => {
  const upstream = await startUpstream(t, (stream) => {
    stream.resume()
    stream.respond({ ':status': 200, 'grpc-status': '5' }, { endStream: true })
  })
  const { call } = await world(t, upstream.origin)
  const stream = call()
  stream.end()
  const { headers, headOnly, reset } = await outcomeOf(stream)
  assert.deepEqual([headers['grpc-status'], headOnly, reset], ['5', true, 0])
})

test('a streaming call takes turns before either side has ended', unless, async (t) => {
  const upstream = await startUpstream(t, echo)
  const { call } = await world(t, upstream.origin)
  const stream = call()
  const outcome = outcomeOf(stream)
  for (let turn = 0; turn < 50; turn++) {
    stream.write(`turn ${turn}`)
    const [piece] = (await once(stream, 'data')) as [Buffer]
    assert.equal(piece.toString(), `turn ${turn}`)
  }
  stream.end()
  assert.equal((await outcome).trailers['grpc-status'], '0')
})

test(
  'an answer that ends before the call does reaches the caller, and the rest is not sent',
  unless,
  async (t) => {
    const upstream = await startUpstream(t, (stream) => {
      stream.resume()
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '8' }))
      stream.end('enough')
    })
    const { call } = await world(t, upstream.origin)
    const stream = call()
    stream.write('some')
    const [trailers] = (await once(stream.resume(), 'trailers')) as [http2.IncomingHttpHeaders]
    assert.equal(trailers['grpc-status'], '8')
    stream.end()
  },
)

const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])
/** `:status: 200`, by its place in the table (RFC 7541, appendix A). */
const HEAD = Buffer.from([0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88])
const HALF = Buffer.concat([Buffer.from([0, 0, 4, 0, 0, 0, 0, 0, 1]), Buffer.from('half')])
const reset = (code: number): Buffer => Buffer.from([0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, code])
const END = Buffer.from([0, 0, 0, 0, 1, 0, 0, 0, 1])

for (const [what, last, whole] of [
  ['is reset', reset(constants.NGHTTP2_INTERNAL_ERROR), false],
  ['is cancelled', reset(constants.NGHTTP2_CANCEL), false],
  ['is reset without an error', reset(constants.NGHTTP2_NO_ERROR), false],
  ['goes with its connection', undefined, false],
  ['ends', END, true],
] as const) {
  test(
    `an answer whose stream ${what} is ${whole ? 'whole' : 'never taken for a whole one'}`,
    unless,
    async (t) => {
      const server = net.createServer((socket) => {
        socket.on('error', () => undefined)
        t.after(() => socket.destroy())
        let asked = false
        socket.on('data', (bytes: Buffer) => {
          // The request's head is the first frame of its stream.
          if (asked || !bytes.includes(Buffer.from([0, 0, 0, 1]))) return
          asked = true
          socket.write(Buffer.concat([HEAD, HALF]))
          setTimeout(() => (last === undefined ? socket.destroy() : socket.write(last)), 50)
        })
        socket.write(SETTINGS)
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      t.after(() => server.close())
      const { call } = await world(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
      const stream = call()
      stream.end()
      const { body, reset: code } = await outcomeOf(stream)
      assert.equal(body, 'half')
      assert.equal(code === 0, whole)
    },
  )
}

test('a call that its caller gives up never ends at the upstream', unless, async (t) => {
  let ended = false
  const upstream = await startUpstream(t, (stream) => {
    stream.on('data', () => upstream.server.emit('data'))
    stream.on('aborted', () => upstream.server.emit('given up'))
    stream.on('end', () => (ended = !stream.closed))
  })
  const { call } = await world(t, upstream.origin)
  const stream = call()
  const came = once(upstream.server, 'data')
  stream.write('some')
  await came
  const gone = once(upstream.server, 'given up')
  // Not `close`, which would end the body first.
  stream.destroy(new Error('given up'))
  await gone
  assert.equal(ended, false)
})

test('a caller of HTTP/1.1 is answered by an upstream of HTTP/2', unless, async (t) => {
  const upstream = await startUpstream(t, echo)
  const { gateway, token } = await world(t, upstream.origin)
  const body = 'x'.repeat(300_000)
  const request = https.request(`${gateway.origin}/orders`, {
    ...{ method: 'POST', ca: authority.certificate },
    ...bearer(token),
  })
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  assert.equal(response.statusCode, 200)
  assert.equal(Buffer.concat((await response.toArray()) as Buffer[]).toString(), body)
  assert.deepEqual(response.trailers, {})
  assert.equal(upstream.received[0]?.te, undefined)
})

test('calls at once share a connection', unless, async (t) => {
  const upstream = await startUpstream(t, echo)
  const { call } = await world(t, upstream.origin)
  const outcomes = await Promise.all(
    Array.from({ length: 50 }, (_, index) => {
      const stream = call()
      stream.end(`call ${index}`)
      return outcomeOf(stream)
    }),
  )
  assert.deepEqual(
    outcomes.map(({ body }) => body),
    outcomes.map((_, index) => `call ${index}`),
  )
  assert.equal(upstream.connections(), 1)
})

test('where the upstream takes few at once, more connections are made', unless, async (t) => {
  const waiting: http2.ServerHttp2Stream[] = []
  const upstream = await startUpstream(t, (stream) => {
    waiting.push(stream)
    if (waiting.length < 10) return
    for (const one of waiting) one.respond({ ':status': 200 }, { endStream: true })
  })
  upstream.server.updateSettings({ maxConcurrentStreams: 4 })
  const { call } = await world(t, upstream.origin)
  const outcomes = await Promise.all(
    Array.from({ length: 10 }, () => {
      const stream = call()
      stream.end()
      return outcomeOf(stream)
    }),
  )
  for (const { headers } of outcomes) assert.equal(Number(headers[':status']), 200)
  assert.equal(upstream.connections(), 3)
})

test('an upstream that is silent is given up after the timeout: 504', unless, async (t) => {
  const upstream = await startUpstream(t, () => undefined)
  const { call } = await world(t, upstream.origin, { timeout: '300ms' })
  const stream = call()
  stream.end()
  const { headers, body } = await outcomeOf(stream)
  assert.equal(headers[':status'], 504)
  assert.match(body, /"code":"upstream_timeout"/)
})

test(
  'a caller that takes its time within a call is not the upstream’s silence',
  unless,
  async (t) => {
    const upstream = await startUpstream(t, echo)
    const { call } = await world(t, upstream.origin, { timeout: '1s' })
    const stream = call()
    const outcome = outcomeOf(stream)
    stream.write('one')
    await once(stream, 'data')
    await sleep(2_500)
    stream.end('two')
    const { body, trailers } = await outcome
    assert.deepEqual([body, trailers['grpc-status']], ['onetwo', '0'])
  },
)

test('an upstream of TLS that does not speak HTTP/2 is unavailable: 502', unless, async (t) => {
  const server = https.createServer({ cert: own.certificate, key: own.key })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const { call } = await world(t, `https://127.0.0.1:${port}`)
  const stream = call()
  stream.end()
  const { headers, body } = await outcomeOf(stream)
  assert.equal(headers[':status'], 502)
  assert.match(body, /"code":"upstream_unavailable"/)
})

test('a connection that the upstream ends is followed by another', unless, async (t) => {
  const upstream = await startUpstream(t, echo)
  const sessions: http2.ServerHttp2Session[] = []
  upstream.server.on('session', (session) => sessions.push(session))
  const { call } = await world(t, upstream.origin)
  for (let count = 1; count <= 3; count++) {
    const stream = call()
    stream.end('again')
    assert.equal((await outcomeOf(stream)).body, 'again')
    const session = sessions.at(-1)!
    session.close()
    if (!session.destroyed) await once(session, 'close')
    assert.equal(upstream.connections(), count)
  }
})
