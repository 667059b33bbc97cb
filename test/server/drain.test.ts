import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2, { constants } from 'node:http2'
import net from 'node:net'
import { before, test, type TestContext } from 'node:test'
import { createAuthority, NO_OPENSSL, type Authority, type Pair } from '../certificates.ts'
import { startIssuer } from '../issuer.ts'
import { bearer, type Gateway, listen, oneRoute, startGateway } from '../system.ts'

let authority: Authority
let own: Pair
before(() => {
  if (NO_OPENSSL !== false) return
  authority = createAuthority()
  own = authority.issue('gateway')
})

interface World {
  readonly gateway: Gateway
  readonly token: string
  /** The next request that the upstream has received, for it to answer. */
  asked(): Promise<http.ServerResponse>
}

/** The delay of a drain is over when a test is; one of `0ms` is over at once. */
async function world(t: TestContext, delay = '10m', tls?: object): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = http.createServer((_request, response) => waiting.push(response))
  const waiting: http.ServerResponse[] = []
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: await listen(t, upstream) }),
    server: { listen: '127.0.0.1:0', drain: { delay, timeout: '10m' }, ...(tls && { tls }) },
  })
  return {
    gateway,
    token: await issuer.token(),
    async asked() {
      while (waiting.length === 0) await once(upstream, 'request').then(() => undefined)
      return waiting.shift()!
    },
  }
}

/** What comes by one connection, as text, until its end. */
async function connected(t: TestContext, { gateway }: World): Promise<Connection> {
  const socket = net.connect(Number(new URL(gateway.origin).port), '127.0.0.1')
  await once(socket, 'connect')
  t.after(() => socket.destroy())
  let text = ''
  socket.setEncoding('latin1').on('data', (piece: string) => (text += piece))
  const ended = new Promise<string>((resolve) => socket.once('close', () => resolve(text)))
  return {
    socket,
    ended,
    async saying(what) {
      while (!text.includes(what)) await once(socket, 'data')
      return text
    },
  }
}

interface Connection {
  readonly socket: net.Socket
  readonly ended: Promise<string>
  saying(what: string): Promise<string>
}

function requestOf(token: string): string {
  return `GET /orders HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer ${token}\r\n\r\n`
}

const connectionsOf = (text: string): readonly string[] =>
  Array.from(text.matchAll(/^connection: (\S+)\r$/gim), ([, value]) => value!)

test('readiness ends with the drain’s first moment, and life does not', async (t) => {
  const { gateway } = await world(t)
  const status = async (path: string): Promise<number> =>
    (await fetch(`${gateway.adminOrigin}${path}`)).status
  assert.equal(await status('/readyz'), 200)
  void gateway.drain()
  assert.equal(await status('/readyz'), 503)
  assert.equal(await status('/livez'), 200)
})

test('during the delay requests are served as ever, on new connections too, and each connection ends with its answer', async (t) => {
  const one = await world(t)
  const { gateway, token, asked } = one
  const before = await connected(t, one)
  before.socket.write(requestOf(token))
  ;(await asked()).end('first')
  await before.saying('first')
  void gateway.drain()

  before.socket.write(requestOf(token))
  ;(await asked()).end('second')
  assert.deepEqual(connectionsOf(await before.ended), ['keep-alive', 'close'])
  const after = await connected(t, one)
  after.socket.write(requestOf(token))
  ;(await asked()).end('third')
  assert.deepEqual(connectionsOf(await after.ended), ['close'])
})

test('an answer whose request came before the drain ends its connection as well', async (t) => {
  const one = await world(t)
  const connection = await connected(t, one)
  connection.socket.write(requestOf(one.token))
  const answer = await one.asked()
  void one.gateway.drain()
  answer.end('late')
  assert.deepEqual(connectionsOf(await connection.ended), ['close'])
})

test('requests that wait behind another are answered, and the last of them ends the connection', async (t) => {
  const one = await world(t)
  const connection = await connected(t, one)
  connection.socket.write(requestOf(one.token).repeat(3))
  const answers = [await one.asked(), await one.asked(), await one.asked()]
  void one.gateway.drain()
  for (const answer of answers) answer.end('whole')
  const text = await connection.ended
  assert.deepEqual(connectionsOf(text), ['keep-alive', 'keep-alive', 'close'])
  assert.equal(text.match(/whole/g)?.length, 3)
})

test('what is sent behind the last answer of a connection reaches nobody', async (t) => {
  const one = await world(t)
  const connection = await connected(t, one)
  connection.socket.write(requestOf(one.token))
  const answer = await one.asked()
  void one.gateway.drain()
  answer.writeHead(200, { 'content-length': 5 }).write('wh')
  await connection.saying('wh')
  connection.socket.write(requestOf(one.token))
  // Something of its own, so that what was sent before has been read.
  await fetch(`${one.gateway.origin}/orders`)
  answer.end('ole')
  assert.match(await connection.ended, /whole$/)
  assert.match(one.gateway.logged(), /"missing_token"/)
  assert.doesNotMatch(one.gateway.logged(), /"caller_gone"/)
})

test('after the delay what is in flight is finished, idle and silent connections are closed, and nobody new is let in', async (t) => {
  const one = await world(t, '0ms')
  const [busy, idle, silent] = [
    await connected(t, one),
    await connected(t, one),
    await connected(t, one),
  ]
  idle.socket.write(requestOf(one.token))
  ;(await one.asked()).end('first')
  await idle.saying('first')
  busy.socket.write(requestOf(one.token))
  const answer = await one.asked()

  const drained = one.gateway.drain()
  assert.deepEqual(connectionsOf(await idle.ended), ['keep-alive'])
  assert.equal(await silent.ended, '')
  const late = net.connect(Number(new URL(one.gateway.origin).port), '127.0.0.1')
  const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNREFUSED')
  answer.end('finished')
  assert.match(await busy.ended, /finished$/)
  await drained
  assert.doesNotMatch(one.gateway.logged(), /is cut off/)
})

test('a connection whose last answer could not say so any more is closed all the same', async (t) => {
  const one = await world(t, '0ms')
  const connection = await connected(t, one)
  connection.socket.write(requestOf(one.token))
  const answer = await one.asked()
  answer.writeHead(200, { 'content-length': 7 }).write('be')
  await connection.saying('be')
  const drained = one.gateway.drain()
  answer.end('tween')
  await drained
  assert.deepEqual(connectionsOf(await connection.ended), ['keep-alive'])
})

test('what takes longer than the drain may is cut off, and that is logged', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = http.createServer()
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: await listen(t, upstream) }),
    server: { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '1ms' } },
  })
  const answer = fetch(`${gateway.origin}/orders`, bearer(await issuer.token()))
  await once(upstream, 'request')
  const refused = assert.rejects(answer)
  await gateway.drain()
  await refused
  assert.match(gateway.logged(), /"msg":"what is still in flight is cut off"/)
})

test('who closes a gateway that drains does not wait for it', async (t) => {
  const { gateway } = await world(t)
  const drained = gateway.drain()
  await gateway.close()
  await drained
})

test('to drain twice is to drain once', async (t) => {
  const { gateway } = await world(t, '0ms')
  await Promise.all([gateway.drain(), gateway.drain()])
  assert.equal(gateway.logged().match(/"msg":"draining"/g)?.length, 1)
})

async function http2World(t: TestContext): Promise<World> {
  return world(t, '10m', { certificate: own.certificate, key: own.key })
}

function connect(t: TestContext, { gateway }: World): http2.ClientHttp2Session {
  const session = http2.connect(gateway.origin, { ca: authority.certificate })
  session.on('error', () => undefined)
  t.after(() => session.destroy())
  return session
}

async function answered(stream: http2.ClientHttp2Stream): Promise<string> {
  stream.setEncoding('utf8')
  let text = ''
  stream.on('data', (piece: string) => (text += piece))
  await once(stream, 'close')
  return text
}

const unless = { skip: NO_OPENSSL }

test(
  'by HTTP/2 a drain is told at once, and what was read before is answered',
  unless,
  async (t) => {
    const one = await http2World(t)
    const session = connect(t, one)
    const goaway = once(session, 'goaway')
    const stream = session.request({ ':path': '/orders', authorization: `Bearer ${one.token}` })
    const text = answered(stream)
    const answer = await one.asked()
    void one.gateway.drain()
    const [code] = (await goaway) as [number]
    assert.equal(code, constants.NGHTTP2_NO_ERROR)
    const closed = once(session, 'close')
    answer.end('answered')
    assert.equal(await text, 'answered')
    await closed
  },
)

test(
  'by HTTP/2 what comes after a drain was told is refused, and has reached nobody',
  unless,
  async (t) => {
    const one = await http2World(t)
    const session = connect(t, one)
    await once(session, 'remoteSettings')
    void one.gateway.drain()
    // Sent by who has not heard, and read after it was told.
    const stream = session.request({ ':path': '/orders' })
    await assert.rejects(answered(stream), /NGHTTP2_REFUSED_STREAM/)
    assert.doesNotMatch(one.gateway.logged(), /"msg":"request"/)
    const again = connect(t, one).request({ ':path': '/orders' })
    const [headers] = (await once(again, 'response')) as [http2.IncomingHttpHeaders]
    assert.equal(headers[':status'], 401)
    again.close()
  },
)

test(
  'by HTTP/2 who comes during the delay is served, and told with the first requests',
  unless,
  async (t) => {
    const one = await http2World(t)
    void one.gateway.drain()
    const session = connect(t, one)
    let told = false
    session.once('goaway', () => (told = true))
    await once(session, 'remoteSettings')
    assert.equal(told, false)
    const goaway = once(session, 'goaway')
    const headers = { ':path': '/orders', authorization: `Bearer ${one.token}` }
    const text = answered(session.request(headers))
    ;(await one.asked()).end('answered')
    assert.equal(await text, 'answered')
    await goaway
  },
)
