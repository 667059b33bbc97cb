/** Trailers from one version of HTTP to the other. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { before, test, type TestContext } from 'node:test'
import { createAuthority, NO_OPENSSL, type Authority, type Pair } from '../certificates.ts'
import { startIssuer } from '../issuer.ts'
import { startRecorder } from '../proxy/upstream.ts'
import { bearer, oneRoute, startGateway } from '../system.ts'

let authority: Authority
let own: Pair
before(() => {
  if (NO_OPENSSL !== false) return
  authority = createAuthority()
  own = authority.issue('gateway')
})

const unless = { skip: NO_OPENSSL }

interface World {
  readonly origin: string
  readonly token: string
  readonly session: http2.ClientHttp2Session
}

async function world(t: TestContext, upstream: string, proxy: object = {}): Promise<World> {
  const issuer = await startIssuer(t)
  const { origin } = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream, proxy }),
    server: { listen: '127.0.0.1:0', tls: { certificate: own.certificate, key: own.key } },
  })
  const session = http2.connect(origin, { ca: authority.certificate })
  session.on('error', () => undefined)
  t.after(() => session.destroy())
  return { origin, session, token: await issuer.token() }
}

interface Outcome {
  readonly headers: http2.IncomingHttpHeaders
  readonly trailers: http2.IncomingHttpHeaders
  readonly body: string
  readonly reset: number
}

async function ask({ session, token }: World, headers: object = {}): Promise<Outcome> {
  const stream = session.request({
    ...{ ':path': '/orders', authorization: `Bearer ${token}` },
    ...headers,
  })
  let answer: http2.IncomingHttpHeaders = {}
  let trailers: http2.IncomingHttpHeaders = {}
  let body = ''
  stream.on('response', (received) => (answer = received))
  stream.on('trailers', (received) => (trailers = received))
  stream.on('data', (piece: Buffer) => (body += piece.toString('latin1')))
  stream.on('error', () => undefined)
  await new Promise((resolve) => stream.once('close', resolve))
  return { headers: answer, trailers, body, reset: stream.rstCode ?? 0 }
}

async function askByHttp1(
  { origin, token }: World,
  headers: Readonly<Record<string, string>>,
): Promise<IncomingMessage & { readonly body: string }> {
  const request = https.get(`${origin}/orders`, {
    ca: authority.certificate,
    headers: { ...bearer(token).headers, ...headers },
  })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const pieces = (await response.toArray()) as Buffer[]
  return Object.assign(response, { body: Buffer.concat(pieces).toString() })
}

/** Speaks HTTP/2 in the clear, and answers with trailers. */
async function startUpstream(
  t: TestContext,
  head: http2.OutgoingHttpHeaders = {},
): Promise<{ readonly origin: string; readonly received: http2.IncomingHttpHeaders[] }> {
  const received: http2.IncomingHttpHeaders[] = []
  const sessions = new Set<http2.Http2Session>()
  const server = http2.createServer()
  server.on('session', (session) => sessions.add(session))
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    received.push(headers)
    stream.on('error', () => undefined)
    stream.respond({ ':status': 200, trailer: 'x-sum', ...head }, { waitForTrailers: true })
    stream.on('wantTrailers', () =>
      stream.sendTrailers({ 'x-sum': 'told', 'set-cookie': 'a=spoofed', constructor: 'told' }),
    )
    stream.end(head['content-length'] === 0 ? undefined : 'some')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received }
}

const CHUNKED =
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: X-Sum, Set-Cookie\r\nconstructor: head\r\n\r\n' +
  '4\r\nsome\r\n0\r\nX-Sum: told\r\nSet-Cookie: a=spoofed\r\nconstructor: told\r\n\r\n'

const TOLD = Object.entries({ 'x-sum': 'told', constructor: 'told' })

test('trailers of an upstream of HTTP/1.1 reach a caller of HTTP/2', unless, async (t) => {
  const upstream = await startRecorder(t, CHUNKED)
  const { headers, trailers, body, reset } = await ask(await world(t, upstream.url))
  assert.deepEqual([body, reset], ['some', 0])
  assert.deepEqual(Object.entries(trailers), TOLD)
  assert.equal(headers.trailer, 'X-Sum')
  assert.equal(headers['set-cookie'], undefined)
  assert.equal(headers['constructor'], 'head')
  // By HTTP/1.1 the upstream is told nothing of it: Connection would have to name it.
  assert.deepEqual(upstream.header(0, 'te'), [])
})

test(
  'trailers of an upstream of HTTP/2 reach callers of HTTP/1.1 that take them',
  unless,
  async (t) => {
    const upstream = await startUpstream(t)
    const there = await world(t, upstream.origin, { http2: true })
    const taking = await askByHttp1(there, { te: 'trailers', connection: 'close, te' })
    assert.equal(taking.body, 'some')
    assert.deepEqual(Object.entries(taking.trailers), TOLD)
    assert.equal(taking.headers.trailer, 'x-sum')
    assert.equal(upstream.received[0]?.te, 'trailers')

    const other = await askByHttp1(there, { connection: 'close' })
    assert.equal(other.body, 'some')
    assert.deepEqual({ ...other.trailers }, {})
    assert.equal(other.headers.trailer, undefined)
    assert.equal(upstream.received[1]?.te, undefined)
  },
)

for (const length of [4, 0]) {
  test(
    `behind a body of ${length} bytes that were told, only HTTP/2 has a place for them`,
    unless,
    async (t) => {
      const upstream = await startUpstream(t, { 'content-length': length })
      const there = await world(t, upstream.origin, { http2: true })
      const { headers, trailers, body, reset } = await ask(there, { te: 'trailers' })
      assert.deepEqual([body.length, headers['content-length'], reset], [length, `${length}`, 0])
      assert.deepEqual(Object.entries(trailers), TOLD)
      const old = await askByHttp1(there, { te: 'trailers', connection: 'close, te' })
      assert.deepEqual([old.body.length, old.headers['content-length']], [length, `${length}`])
      assert.deepEqual({ ...old.trailers }, {})
    },
  )
}

test('trailers of a request by HTTP/2 are dropped, and its body is whole', unless, async (t) => {
  const upstream = await startRecorder(t)
  const { session, token } = await world(t, upstream.url)
  const stream = session.request(
    { ':path': '/orders', ':method': 'POST', authorization: `Bearer ${token}` },
    { waitForTrailers: true },
  )
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'spoofed', via: 'spoofed' }))
  stream.resume().end('body')
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  assert.equal(headers[':status'], 200)
  assert.equal(upstream.requests[0]?.body, 'body')
  assert.doesNotMatch(upstream.raw(), /spoofed/)
  assert.equal(upstream.leftOver(), 0)
})

test('names of Object.prototype are ordinary headers by HTTP/2, too', unless, async (t) => {
  const upstream = await startUpstream(t, { 'has-own': '1', valueof: '2' })
  const there = await world(t, upstream.origin, { http2: true })
  const { headers } = await ask(there, { constructor: 'kept', tostring: 'as well' })
  assert.deepEqual([headers['has-own'], headers['valueof']], ['1', '2'])
  const [received = assert.fail()] = upstream.received
  assert.deepEqual([received['constructor'], received['tostring']], ['kept', 'as well'])
})
