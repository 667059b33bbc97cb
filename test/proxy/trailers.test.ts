import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { test, type TestContext } from 'node:test'
import { ask, dial, listen, startHttp, startProxy, startRecorder } from './upstream.ts'
import type { StartOptions } from './upstream.ts'

/** An answer in chunks, with lines in its head and behind its body. */
function chunked(trailers: readonly string[], head: readonly string[] = []): string {
  const lines = ['HTTP/1.1 200 OK', 'transfer-encoding: chunked', ...head]
  return `${lines.join('\r\n')}\r\n\r\n2\r\nok\r\n0\r\n${trailers.map((line) => `${line}\r\n`).join('')}\r\n`
}

/** Head and body of the answer as they stood on the wire, with all that follows the last chunk. */
async function answered(
  t: TestContext,
  answer: string,
  lines: readonly string[],
  options: StartOptions & { readonly start?: string } = {},
): Promise<{ readonly head: string; readonly rest: string }> {
  const upstream = await startRecorder(t, answer)
  const { port } = await startProxy(t, upstream.url, options)
  const wire = await dial(t, port)
  const { start = 'GET /orders HTTP/1.1' } = options
  wire.socket.write([start, 'Host: h', 'Connection: close', ...lines, '', ''].join('\r\n'))
  await wire.closed
  const end = wire.text().indexOf('\r\n\r\n') + 4
  return { head: wire.text().slice(0, end), rest: wire.text().slice(end) }
}

const TAKEN = ['TE: trailers']
const SUMMED = chunked(['X-Sum: one', 'x-sum: two', 'X-Other: 3'], ['Trailer: X-Sum, X-Other'])

test('trailers of an answer reach a caller that takes them, announced', async (t) => {
  const { head, rest } = await answered(t, SUMMED, TAKEN)
  assert.match(head, /^Trailer: X-Sum, X-Other\r$/m)
  assert.equal(rest, '2\r\nok\r\n0\r\nx-sum: one, two\r\nx-other: 3\r\n\r\n')
})

test('a caller that does not say so gets none, and the answer whole', async (t) => {
  const { head, rest } = await answered(t, SUMMED, [])
  assert.doesNotMatch(head, /^trailer:/im)
  assert.equal(rest, '2\r\nok\r\n0\r\n\r\n')
})

for (const [te, taken] of [
  ['TE: Trailers', true],
  ['TE: deflate;q=0.5, trailers', true],
  ['TE: deflate\r\nTE: trailers', true],
  ['TE: xtrailers', false],
  ['TE: trailers;q=0', false],
  ['TE: chunked', false],
  ['TE:', false],
] as const) {
  test(`${JSON.stringify(te)} ${taken ? 'takes' : 'does not take'} trailers`, async (t) => {
    const { rest } = await answered(t, SUMMED, [te])
    assert.equal(/x-sum/i.test(rest), taken)
  })
}

test('what is not announced is told all the same', async (t) => {
  const { head, rest } = await answered(t, chunked(['X-Sum: one']), TAKEN)
  assert.doesNotMatch(head, /^trailer:/im)
  assert.equal(rest, '2\r\nok\r\n0\r\nx-sum: one\r\n\r\n')
})

test('where an answer has no place for trailers there are none', async (t) => {
  const old = await answered(t, SUMMED, TAKEN, { start: 'GET /orders HTTP/1.0' })
  assert.doesNotMatch(old.head, /^(?:trailer|transfer-encoding):/im)
  assert.equal(old.rest, 'ok')
  const bare = await answered(t, SUMMED, TAKEN, { start: 'HEAD /orders HTTP/1.1' })
  assert.match(bare.head, /^HTTP\/1\.1 200 /)
  assert.doesNotMatch(bare.head, /^trailer:/im)
  assert.equal(bare.rest, '')
  const sized = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntrailer: X-Sum\r\n\r\nok'
  const { head, rest } = await answered(t, sized, TAKEN)
  assert.doesNotMatch(head, /^trailer:/im)
  assert.equal(rest, 'ok')
})

const OF_THE_HEAD = [
  ...['Authorization', 'Proxy-Authorization', 'WWW-Authenticate', 'DPoP-Nonce', 'DPoP', 'Cookie'],
  ...[
    'Set-Cookie',
    'Set_Cookie',
    'Host',
    'Via',
    'Forwarded',
    'X-Forwarded-For',
    'X-Forwarded.Host',
  ],
  ...['X-Real-IP', 'X-Request-Id', 'X_Request_Id', 'X-Behalf-User', 'Client-Cert', 'Connection'],
  ...['Keep-Alive', 'Keep_Alive', 'Upgrade', 'Trailer', 'TE', 'Expect', 'If-Match', 'Range'],
  ...['Cache-Control', 'Location', 'Retry-After', 'Vary', 'Expires', 'Content-Type'],
  ...['Content-Encoding', 'Content-Range', 'Content_Length', 'Transfer_Encoding'],
  ...['Access-Control-Allow-Origin', 'Content-Security-Policy', 'Sec-WebSocket-Accept'],
  ...['Strict-Transport-Security', 'Max-Forwards'],
]

test('what decides something in a head is never told behind a body, nor announced', async (t) => {
  const lines = OF_THE_HEAD.map((name) => `${name}: spoofed`)
  const answer = chunked([...lines, 'X-Sum: one'], [`Trailer: ${OF_THE_HEAD.join(', ')}, X-Sum`])
  const { head, rest } = await answered(t, answer, TAKEN)
  assert.match(head, /^Trailer: X-Sum\r$/m)
  assert.equal(rest, '2\r\nok\r\n0\r\nx-sum: one\r\n\r\n')
  assert.doesNotMatch(head, /spoofed/)
})

for (const line of ['Content-Length: 2', 'Content-Length: 60', 'Transfer-Encoding: chunked']) {
  test(`${line} behind a body frames nothing`, async (t) => {
    const { head, rest } = await answered(t, chunked([line, 'X-Sum: one']), TAKEN)
    assert.equal(head.match(/^(?:transfer-encoding|content-length):/gim)?.length ?? 0, 1)
    // Whole without the line, or cut: some of these undici does not take.
    assert.ok(
      ['2\r\nok\r\n0\r\nx-sum: one\r\n\r\n', '2\r\nok\r\n', ''].includes(rest) ||
        head.startsWith('HTTP/1.1 502'),
      rest,
    )
  })
}

test('what the upstream’s Connection names ends here, also behind a body', async (t) => {
  const named = ['Connection: X-Sum', 'Trailer: X-Sum, X-Other']
  const { head, rest } = await answered(t, chunked(['X-Sum: 1', 'X-Other: 2'], named), TAKEN)
  assert.match(head, /^Trailer: X-Other\r$/m)
  assert.equal(rest, '2\r\nok\r\n0\r\nx-other: 2\r\n\r\n')
})

test('what the route takes out of answers is taken out of their trailers', async (t) => {
  const headers = {
    request: { remove: [], set: [] },
    response: { remove: ['x-sum'], set: [['x-other', 'ours'] as const] },
  }
  const answer = chunked(['X-Sum: 1', 'X_Sum: 2', 'X-Other: 3', 'X-Kept: 4'])
  const { head, rest } = await answered(t, answer, TAKEN, { proxy: { headers } })
  assert.match(head, /^x-other: ours\r$/m)
  assert.equal(rest, '2\r\nok\r\n0\r\nx-kept: 4\r\n\r\n')
})

test('names of Object.prototype are ordinary trailers', async (t) => {
  const { rest } = await answered(t, chunked(['constructor: 1', '__proto__: 2']), TAKEN)
  assert.equal(rest, '2\r\nok\r\n0\r\nconstructor: 1\r\n__proto__: 2\r\n\r\n')
})

test('an answer whose trailers do not end, or are too many, is never whole', async (t) => {
  const many = chunked(Array.from({ length: 2_000 }, () => `X-Many: ${'x'.repeat(40)}`))
  for (const trailers of [many, chunked(['X-Sum one']), chunked([' folded: x'])]) {
    const { rest } = await answered(t, trailers, TAKEN)
    assert.doesNotMatch(rest, /\r\n0\r\n/)
  }
  const { rest } = await answered(t, chunked(['X-Sum: one']), TAKEN)
  assert.match(rest, /\r\n0\r\n/)
})

test('trailers of a request are dropped, whatever they are called', async (t) => {
  const upstream = await startRecorder(t)
  const { port } = await startProxy(t, upstream.url)
  const names = OF_THE_HEAD.filter((name) => !/^(?:connection|content-length)$/i.test(name))
  const body = '4\r\nbody\r\n0\r\n'
  const trailers = [...names, 'X-Sum'].map((name) => `${name}: spoofed\r\n`).join('')
  const head = 'POST /orders HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n'
  assert.match(
    await ask(t, port, `${head}Trailer: X-Sum, Authorization\r\n\r\n${body}${trailers}\r\n`),
    /^HTTP\/1\.1 200 /,
  )
  assert.equal(upstream.requests[0]?.body, 'body')
  assert.doesNotMatch(upstream.raw(), /spoofed|^trailer/im)
  assert.equal(upstream.leftOver(), 0)
  // The twin says it where it belongs.
  await ask(t, port, `${head}X-Sum: told\r\n\r\n${body}\r\n`)
  assert.deepEqual(upstream.header(1, 'x-sum'), ['told'])
})

test('a request behind one with trailers is the next one', async (t) => {
  const upstream = await startRecorder(t)
  const { port, settled } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  const head = 'POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n'
  wire.socket.write(
    `${head}0\r\nX-Sum: GET /evil HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n`,
  )
  await settled(2)
  assert.deepEqual(upstream.requests.map(({ path }) => path).sort(), ['/1', '/2'])
})

test('clients and servers of Node meet each other’s trailers', async (t) => {
  const url = await startHttp(t, (_request, response) => {
    response.writeHead(200, { trailer: 'x-sum' })
    response.write('some')
    response.addTrailers({ 'x-sum': 'told' })
    response.end()
  })
  const { port } = await startProxy(t, url)
  const request = http.get({ port, headers: { te: 'trailers', connection: 'te' } })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  await response.toArray()
  assert.deepEqual({ ...response.trailers }, { 'x-sum': 'told' })
})

test('a connection whose answer had trailers serves the next request', async (t) => {
  let connections = 0
  const server = http.createServer((_request, response) => {
    response.write('some')
    response.addTrailers({ 'x-sum': 'told' })
    response.end()
  })
  server.on('connection', () => connections++)
  const { port } = await startProxy(t, `http://127.0.0.1:${await listen(t, server)}`)
  const wire = await dial(t, port)
  for (let count = 1; count <= 3; count++) {
    wire.socket.write('GET /orders HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n')
    await wire.until(new RegExp(`(?:0\\r\\nx-sum: told\\r\\n\\r\\n[^]*){${count}}`))
  }
  assert.equal(connections, 1)
})
