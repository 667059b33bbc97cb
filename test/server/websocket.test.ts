import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import { createLog, gateway as embed, type ConfigInput } from '../../src/index.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import {
  accepting,
  acceptOf,
  CLOSE,
  frame,
  HANDSHAKE,
  KEY,
  openWebSocket,
  startWebSockets,
  statusOf,
  TEXT,
  type AnswerTo,
  type WebSocketUpstream,
} from '../proxy/websocket.ts'
import { claimsOf, listen, oneRoute, startGateway, type Gateway } from '../system.ts'

interface World {
  readonly issuer: TestIssuer
  readonly upstream: WebSocketUpstream
  readonly gateway: Gateway
  readonly token: string
}

async function world(
  t: TestContext,
  websocket: object | null = {},
  answer?: AnswerTo,
): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startWebSockets(t, answer)
  const proxy = { timeout: '20s', ...(websocket && { websocket }) }
  const setting = { issuer: issuer.url, upstream: upstream.origin, proxy }
  const gateway = await startGateway(t, oneRoute(setting))
  return { issuer, upstream, gateway, token: await issuer.token() }
}

test('a WebSocket opens with the issued token, and its messages pass both ways', async (t) => {
  const { upstream, gateway, token } = await world(t)
  const headers = ['Sec-WebSocket-Protocol: chat', 'Sec-WebSocket-Extensions: permessage-deflate']
  const caller = await openWebSocket(t, gateway.origin, { token, headers, target: '/orders?a=b' })
  assert.equal(caller.status, 101)
  assert.match(
    caller.head,
    new RegExp(`\r\nSec-WebSocket-Accept: ${acceptOf(KEY).replace('+', '.')}\r\n`),
  )
  assert.match(caller.head, /\r\nX-Request-Id: /)
  for (const length of [0, 1, 125, 126, 65_535, 65_536, 300_000]) {
    caller.send(TEXT, 'x'.repeat(length))
    const { opcode, payload } = await caller.next()
    assert.deepEqual([opcode, payload.length], [TEXT, length])
  }
  const [{ url, headers: received } = assert.fail()] = upstream.received
  assert.equal(url, '/orders?a=b')
  assert.equal(received['sec-websocket-protocol'], 'chat')
  assert.equal(received['sec-websocket-extensions'], 'permessage-deflate')
  assert.equal(claimsOf(received.authorization)['aud'], 'https://orders.internal')
  assert.ok(!JSON.stringify(received).includes(token))

  caller.send(CLOSE, Buffer.from([0x03, 0xe8]))
  assert.equal(statusOf(await caller.next()), 1000)
  caller.socket.end()
  await caller.closed
})

test('what a caller sends in one piece with its handshake reaches the upstream after it, and once', async (t) => {
  const { gateway, token } = await world(t)
  const caller = await openWebSocket(t, gateway.origin, {
    token,
    early: frame(TEXT, 'early', true),
  })
  caller.send(TEXT, 'late')
  assert.equal((await caller.next()).payload.toString(), 'early')
  assert.equal((await caller.next()).payload.toString(), 'late')
})

test('a route takes WebSockets only where it says so', async (t) => {
  const { upstream, gateway, token, issuer } = await world(t, null)
  const refused = await openWebSocket(t, gateway.origin, { token })
  assert.equal(refused.status, 400)
  assert.match(await refused.body(), /"code":"invalid_request"/)
  assert.equal(upstream.received.length + upstream.plain.length, 0)
  assert.equal(issuer.exchanges.length, 0)
})

for (const [what, options, status] of [
  ['no token', { token: '' }, 401],
  ['a token that is none', { token: 'a.b.c' }, 401],
  ['POST', { method: 'POST' }, 400],
  ['a body', { headers: ['Content-Length: 5'], early: 'hello' }, 400],
  ['a chunked body', { headers: ['Transfer-Encoding: chunked'], early: '0\r\n\r\n' }, 400],
  ['a second key', { headers: [`Sec-WebSocket-Key: ${KEY}`] }, 400],
  ['no key', { handshake: HANDSHAKE.slice(0, 3) }, 400],
  ['a short key', { handshake: [...HANDSHAKE.slice(0, 3), 'Sec-WebSocket-Key: c2hvcnQ='] }, 400],
  ['a target nobody serves', { target: '/elsewhere' }, 404],
] as const) {
  test(`a handshake with ${what} is answered ${status}, and its connection ends`, async (t) => {
    const { upstream, gateway, token } = await world(t)
    const refused = await openWebSocket(t, gateway.origin, { token, ...options })
    assert.equal(refused.status, status)
    assert.match(refused.head, /\r\nConnection: close\r\n/i)
    assert.match(refused.head, /application\/problem\+json/)
    if (status === 401) assert.match(refused.head, /\r\nwww-authenticate: Bearer/i)
    assert.doesNotMatch(await refused.body(), /HTTP\/1\.1/)
    assert.equal(upstream.received.length + upstream.plain.length, 0)

    const twin = await openWebSocket(t, gateway.origin, { token })
    assert.equal(twin.status, 101)
  })
}

const SMUGGLED = 'GET /admin HTTP/1.1\r\nHost: h\r\n\r\n'

test('a request behind a handshake that the upstream refused reaches nobody', async (t) => {
  const { upstream, gateway, token } = await world(
    t,
    {},
    () => 'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Why: because\r\n\r\nno',
  )
  const refused = await openWebSocket(t, gateway.origin, { token, early: SMUGGLED })
  refused.socket.write(SMUGGLED)
  assert.equal(refused.status, 403)
  assert.match(refused.head, /\r\nX-Why: because\r\n/)
  assert.match(refused.head, /\r\nConnection: close\r\n/i)
  refused.socket.write(SMUGGLED)
  refused.socket.end()
  assert.equal(await refused.body(), 'no')
  assert.equal(upstream.received.length, 1)
  assert.equal(upstream.plain.length, 0)
})

for (const [what, answer] of [
  ['another accept', () => accepting({ headers: { 'sec-websocket-key': 'x' } } as never)],
  ['no accept', (request) => accepting(request).replace(/Sec-.*\r\n/, '')],
  ['two accepts', (request) => accepting(request).replace(/(Sec-.*\r\n)/, '$1$1')],
  ['another protocol', (request) => accepting(request).replace('websocket', 'h2c')],
  ['no protocol', (request) => accepting(request).replace('Upgrade: websocket\r\n', '')],
] as const satisfies readonly (readonly [string, AnswerTo])[]) {
  test(`a 101 with ${what} opens nothing: 502`, async (t) => {
    const { gateway, token } = await world(t, {}, answer)
    const refused = await openWebSocket(t, gateway.origin, { token, early: SMUGGLED })
    assert.equal(refused.status, 502)
    assert.match(await refused.body(), /"code":"upstream_unavailable"/)
  })
}

test('a handshake whose token the upstream refuses is sent once more with another one', async (t) => {
  let count = 0
  const { upstream, gateway, token, issuer } = await world(t, {}, (request) =>
    count++ === 0
      ? 'HTTP/1.1 401 U\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 0\r\n\r\n'
      : accepting(request),
  )
  const caller = await openWebSocket(t, gateway.origin, { token })
  assert.equal(caller.status, 101)
  assert.equal(issuer.exchanges.length, 2)
  const [first, second] = upstream.received.map(({ headers }) => headers.authorization)
  assert.notEqual(first, second)
})

test('a handshake behind a request that waits for its answer ends the connection', async (t) => {
  const { upstream, gateway, token } = await world(t)
  const socket = net.connect(Number(new URL(gateway.origin).port), '127.0.0.1')
  let text = ''
  socket.on('data', (piece: Buffer) => (text += piece.toString('latin1')))
  const authorization = `Host: h\r\nAuthorization: Bearer ${token}\r\n`
  socket.write(
    `GET /orders HTTP/1.1\r\n${authorization}\r\nGET /orders HTTP/1.1\r\n${authorization}${HANDSHAKE.join('\r\n')}\r\n\r\n`,
  )
  await once(socket, 'close')
  assert.equal(text, '')
  assert.equal(upstream.received.length, 0)
})

for (const body of ['', 'a body']) {
  test(`an offer of HTTP/2 ${body ? 'with' : 'without'} a body is ignored, and its request served`, async (t) => {
    const { upstream, gateway, token } = await world(t)
    const answered = await openWebSocket(t, gateway.origin, {
      ...{ token, method: body === '' ? 'GET' : 'POST' },
      handshake: [
        'Connection: Upgrade, HTTP2-Settings',
        'Upgrade: h2c',
        'HTTP2-Settings: AAMAAABk',
      ],
      headers: [`Content-Length: ${body.length}`],
      early: body,
    })
    const answer = await answered.body()
    assert.equal(answered.status, 200, answer)
    assert.match(answer, /plain/)
    assert.equal(upstream.plain.length, 1)
    assert.equal(upstream.plain[0]?.headers.upgrade, undefined)
  })
}

test('with expiry `close` a WebSocket ends with 1008 when the subject token has expired', async (t) => {
  const { issuer, upstream, gateway } = await world(t)
  const token = await issuer.token({ exp: Math.floor(Date.now() / 1_000) + 2 })
  const caller = await openWebSocket(t, gateway.origin, { token })
  assert.equal(caller.status, 101)
  const other = await upstream.opened()
  assert.equal(statusOf(await caller.next()), 1008)
  await Promise.all([caller.closed, other.closed])
})

test('with expiry `close` a WebSocket ends with 1008 when the issued token has expired', async (t) => {
  const { issuer, gateway, token } = await world(t)
  issuer.answer = (form, response) => issuer.issue(form, response, { expires_in: 2 })
  const caller = await openWebSocket(t, gateway.origin, { token })
  assert.equal(caller.status, 101)
  assert.equal(statusOf(await caller.next()), 1008)
})

test('with expiry `keep` a WebSocket outlives its tokens', async (t) => {
  const { issuer, gateway } = await world(t, { expiry: 'keep' })
  const exp = Math.floor(Date.now() / 1_000) + 1
  const caller = await openWebSocket(t, gateway.origin, { token: await issuer.token({ exp }) })
  assert.equal(caller.status, 101)
  while (Date.now() < exp * 1_000 + 200) await sleep(50)
  caller.send(TEXT, 'still here')
  assert.equal((await caller.next()).payload.toString(), 'still here')
})

test('a WebSocket on which nothing passes ends with 1001', async (t) => {
  const { gateway, token } = await world(t, { idle: '300ms' })
  const caller = await openWebSocket(t, gateway.origin, { token })
  assert.equal(statusOf(await caller.next()), 1001)
  await caller.closed
})

test('draining ends WebSockets with 1001 on both sides, and those that would open', async (t) => {
  const { upstream, gateway, token } = await world(t)
  const caller = await openWebSocket(t, gateway.origin, { token })
  const seen: (number | undefined)[] = []
  caller.socket.on('end', () => caller.socket.end())
  const drained = gateway.drain()
  seen.push(statusOf(await caller.next()))
  await drained
  await caller.closed
  assert.deepEqual(seen, [1001])
  assert.equal(upstream.received.length, 1)
})

test('a caller that vanishes takes the upstream’s connection with it', async (t) => {
  const { upstream, gateway, token } = await world(t)
  const caller = await openWebSocket(t, gateway.origin, { token })
  const other = await upstream.opened()
  caller.socket.resetAndDestroy()
  await other.closed
})

test('an upstream that breaks takes the caller’s connection with it', async (t) => {
  const { upstream, gateway, token } = await world(t)
  const caller = await openWebSocket(t, gateway.origin, { token })
  const other = await upstream.opened()
  other.socket.resetAndDestroy()
  await caller.closed
})

test('open WebSockets are counted, and each is a line in the log when it has ended', async (t) => {
  const { gateway, token } = await world(t)
  const open = async (): Promise<string | undefined> => {
    const text = await (await fetch(`${gateway.adminOrigin}/metrics`)).text()
    return /^behalf_websockets_open (\d+)$/m.exec(text)?.[1]
  }
  assert.equal(await open(), '0')
  const caller = await openWebSocket(t, gateway.origin, { token })
  assert.equal(await open(), '1')
  assert.doesNotMatch(gateway.logged(), /"status":101/)
  caller.socket.destroy()
  while ((await open()) !== '0') await sleep(10)
  assert.match(gateway.logged(), /"method":"GET","path":"\/orders","status":101,"result":"ok"/)
  assert.ok(!gateway.logged().includes(token.split('.')[2]!))
})

test('embedded, WebSockets are taken below the mount path, and nowhere else', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startWebSockets(t)
  const setting = { issuer: issuer.url, upstream: upstream.origin, proxy: { websocket: {} } }
  const middleware = await embed(oneRoute(setting) as ConfigInput, {
    log: createLog({ level: 'silent' }),
  })
  t.after(() => middleware.close())
  const app = express()
  app.use('/api', middleware)
  const server = http.createServer(app)
  server.on('upgrade', middleware.upgrade)
  const origin = await listen(t, server)
  const token = await issuer.token()

  const caller = await openWebSocket(t, origin, { token, target: '/api/orders?x=1' })
  assert.equal(caller.status, 101)
  assert.equal(upstream.received[0]?.url, '/orders?x=1')
  for (const target of ['/orders', '/API/orders', '/apiary/orders', '/api']) {
    const refused = await openWebSocket(t, origin, { token, target })
    assert.equal(refused.status, 400, target)
    assert.match(await refused.body(), /"code":"invalid_request_target"/)
  }
  caller.socket.destroy()
})
