/** A hostile upstream: whatever it answers, no caller reads what is another's, and nothing breaks. */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { startIssuer } from '../issuer.ts'
import { oneRoute, startGateway } from '../system.ts'
import { ask, OK, request, startRawUpstream, type Answered, type RawUpstream } from './wire.ts'

interface World {
  readonly upstream: RawUpstream
  readonly get: (path: string) => Promise<Answered>
  readonly logged: () => string
}

async function world(t: TestContext, timeout = '30s'): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startRawUpstream(t)
  const setting = { issuer: issuer.url, upstream: upstream.origin, proxy: { timeout } }
  const gateway = await startGateway(t, oneRoute(setting))
  const authorization = `Authorization: Bearer ${await issuer.token()}`
  const get = (path: string): Promise<Answered> =>
    ask(t, gateway.origin, request(`GET ${path}`, [authorization]))
  return { upstream, get, logged: gateway.logged }
}

function head(...lines: readonly string[]): string {
  return ['HTTP/1.1 200 OK', ...lines, 'content-length: 2', '', 'ok'].join('\r\n')
}

const EVIL = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL'
const answers: readonly (readonly [what: string, answer: string, status: number])[] = [
  ['one answer', OK, 200],
  ['two answers', OK + EVIL, 200],
  ['more than its Content-Length', OK + 'EVIL', 200],
  ['a 204 with a body', 'HTTP/1.1 204 No\r\ncontent-length: 38\r\n\r\n' + EVIL, 204],
  ['a 304 with a body', 'HTTP/1.1 304 No\r\ncontent-length: 38\r\n\r\n' + EVIL, 304],
  ['two lengths', head('content-length: 3'), 502],
  ['a length and chunks', head('transfer-encoding: chunked'), 502],
  ['a negative length', 'HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok', 502],
  ['a transfer coding that nobody takes off', head('transfer-encoding: x'), 502],
  ['five thousand interim answers', 'HTTP/1.1 103 E\r\nx: y\r\n\r\n'.repeat(5_000) + OK, 200],
  ['a switch of protocols that nobody asked for', 'HTTP/1.1 101 S\r\nupgrade: x\r\n\r\n', 502],
  ['status 000', OK.replace('200', '000'), 502],
  ['a status of four digits', OK.replace('200', '2000'), 502],
  ['bytes of another protocol', '\x16\x03\x01\x02', 502],
  ['a control character in a header', head('x: a\x01b'), 502],
  ['a tab in a header', head('x: a\tb'), 200],
  ['a bare carriage return in a header', head('x: a\rSet-Cookie: b=c'), 502],
  ['a folded header', head('x: a', ' Set-Cookie: b=c'), 502],
  ['a header of 20 kB', head(`x: ${'a'.repeat(20_000)}`), 502],
  ['a header of 10 kB', head(`x: ${'a'.repeat(10_000)}`), 200],
  ['names of Object.prototype', head('__proto__: x', 'constructor: y'), 200],
]
for (const [what, answer, status] of answers) {
  test(`an upstream that sends ${what}: ${status}, and the next caller gets its own answer`, async (t) => {
    const { upstream, get, logged } = await world(t)
    upstream.answer = (socket) => void socket.write(answer, 'latin1')
    const first = await get('/orders/1')
    assert.equal(first.status, status)
    assert.equal(first.body.includes('EVIL'), false)
    assert.equal(/^set-cookie/im.test(first.head), false)

    upstream.answer = (socket) => void socket.write(OK)
    const next = await get('/orders/2')
    assert.deepEqual([next.status, next.body], [200, 'ok'])
    assert.equal(logged().includes('internal_error'), false)
  })
}

const breaks: readonly (readonly [what: string, answer: (socket: Socket) => void])[] = [
  ['before its answer', (socket) => socket.end()],
  ['within its head', (socket) => socket.end('HTTP/1.1 200 OK\r\nconte')],
  ['by a reset', (socket) => void socket.resetAndDestroy()],
]
for (const [when, answer] of breaks) {
  test(`an upstream that goes ${when} is unavailable, and the request is not sent again`, async (t) => {
    const { upstream, get } = await world(t)
    upstream.answer = answer
    const first = await get('/orders/1')
    assert.deepEqual([first.status, first.code], [502, 'upstream_unavailable'])
    assert.equal(upstream.heads.length, 1)
    upstream.answer = (socket) => void socket.write(OK)
    assert.equal((await get('/orders/2')).status, 200)
  })
}

test('an upstream that sends one header line after the other for ever is out of time', async (t) => {
  const { upstream, get } = await world(t, '300ms')
  upstream.answer = (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n')
    const dripping = setInterval(() => socket.write('x: y\r\n'), 50)
    socket.on('close', () => clearInterval(dripping))
  }
  assert.equal((await get('/orders/1')).code, 'upstream_timeout')
  upstream.answer = (socket) => void socket.write(OK)
  assert.equal((await get('/orders/2')).status, 200)
})

test('what Connection names in an answer goes, but never what is ours', async (t) => {
  const { upstream, get } = await world(t)
  upstream.answer = (socket) =>
    void socket.write(
      head('connection: x-request-id, content-length, x-hop', 'x-hop: 1', 'x-end: 1'),
    )
  const answer = await get('/orders')
  assert.deepEqual([answer.status, answer.body], [200, 'ok'])
  assert.match(answer.head, /^x-request-id: /im)
  assert.match(answer.head, /^x-end: 1/im)
  assert.doesNotMatch(answer.head, /^x-hop/im)
})

test('a challenge of many quotes that never end costs no more than one that ends', async (t) => {
  const { upstream, get } = await world(t)
  upstream.answer = (socket) =>
    void socket.write(
      `HTTP/1.1 401 U\r\nwww-authenticate: Basic realm="${'\\"'.repeat(7_000)}\r\ncontent-length: 2\r\n\r\nno`,
    )
  assert.equal((await get('/orders')).status, 401)
  const started = process.cpuUsage()
  for (let count = 0; count < 20; count++) await get('/orders')
  const { user } = process.cpuUsage(started)
  // The square would be near a second; CPU time does not count who else is busy.
  assert.ok(user < 500_000, `${user} microseconds`)
})

test('an upstream that repeats the issued token gives the caller its 401 as 502, and no token', async (t) => {
  const { upstream, get, logged } = await world(t)
  let issued = ''
  upstream.answer = (socket, received) => {
    issued = /^authorization: Bearer (.*)$/im.exec(received)?.[1] ?? ''
    socket.write(
      `HTTP/1.1 401 ${issued}\r\nwww-authenticate: Bearer error_description="${issued}"\r\ncontent-length: 0\r\n\r\n`,
    )
  }
  const answer = await get('/orders')
  assert.deepEqual([answer.status, answer.code], [502, 'upstream_rejected_token'])
  assert.notEqual(issued, '')
  assert.equal(`${answer.head}${answer.body}${logged()}`.includes(issued.slice(-40)), false)
})
