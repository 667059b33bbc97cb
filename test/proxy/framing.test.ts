import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, dial, startProxy, startRecorder } from './upstream.ts'

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'LINK']
const SMUGGLED = 'GET /admin HTTP/1.1\r\nHost: x\r\n\r\n'
const BODIES = {
  'a request in the body': SMUGGLED,
  'a short body': 'x',
  'a long body': `${SMUGGLED}${'y'.repeat(200_000)}`,
}
const FRAMES = {
  'content-length': (body: string) => `Content-Length: ${body.length}\r\n\r\n${body}`,
  'one chunk': (body: string) =>
    `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  'several chunks': (body: string) =>
    `Transfer-Encoding: Chunked\r\n\r\n` +
    [body.slice(0, 7), body.slice(7, 9), body.slice(9)]
      .filter((piece) => piece !== '')
      .map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`)
      .join('') +
    '0\r\n\r\n',
  'chunks with a trailer': (body: string) =>
    `Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\nX-T: 1\r\n\r\n`,
  'content-length named in Connection': (body: string) =>
    `Connection: content-length, host\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  'chunks named in Connection': (body: string) =>
    `Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
}

for (const method of METHODS) {
  test(`a ${method} arrives as exactly one request with its body, however it was framed`, async (t) => {
    const upstream = await startRecorder(t)
    const { port } = await startProxy(t, upstream.url)
    let sent = 0
    for (const [frame, framed] of Object.entries(FRAMES)) {
      for (const [what, body] of Object.entries(BODIES)) {
        const answer = await ask(
          t,
          port,
          `${method} /orders HTTP/1.1\r\nHost: h\r\n${framed(body)}`,
        )
        sent++
        assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/, `${frame}, ${what}`)
        assert.equal(upstream.requests.length, sent, `${frame}, ${what}`)
        const request = upstream.requests.at(-1)!
        assert.deepEqual(
          [request.method, request.path, request.body],
          [method, '/orders', body],
          `${frame}, ${what}`,
        )
        const lengths = upstream.header(sent - 1, 'content-length')
        const codings = upstream.header(sent - 1, 'transfer-encoding')
        assert.equal(lengths.length + codings.length, 1, `${frame}, ${what}`)
      }
    }
    assert.doesNotMatch(upstream.raw(), /\r\nx-t:/i)
  })

  test(`a ${method} without a body arrives without one`, async (t) => {
    const upstream = await startRecorder(t)
    const { port } = await startProxy(t, upstream.url)
    const heads = ['', 'Content-Length: 0\r\n', 'Transfer-Encoding: chunked\r\n']
    for (const [index, head] of heads.entries()) {
      const end = head.startsWith('Transfer') ? '0\r\n\r\n' : ''
      await ask(t, port, `${method} /orders HTTP/1.1\r\nHost: h\r\n${head}\r\n${end}`)
      assert.equal(upstream.requests.length, index + 1)
      assert.equal(upstream.requests[index]!.body, '')
      assert.deepEqual(upstream.header(index, 'transfer-encoding'), [])
      assert.notEqual(upstream.header(index, 'content-length')[0] ?? '0', '1')
    }
  })
}

test('two requests on one connection stay two, in order', async (t) => {
  const upstream = await startRecorder(t)
  const { port, settled } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(
    'POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc' +
      'DELETE /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n' +
      'GET /3 HTTP/1.1\r\nHost: h\r\n\r\n',
  )
  await settled(3)
  assert.deepEqual(
    upstream.requests
      .map(({ path, body }) => [path, body])
      .sort(([one = ''], [other = '']) => one.localeCompare(other)),
    [
      ['/1', 'abc'],
      ['/2', 'def'],
      ['/3', ''],
    ],
  )
})

for (const [fault, refused, twin] of [
  [
    'a second Host',
    'GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: h\r\nHosts: i\r\n\r\n',
  ],
  [
    'a Host with a path',
    'GET / HTTP/1.1\r\nHost: h/i\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: h\r\n\r\n',
  ],
  [
    'a Host with user information',
    'GET / HTTP/1.1\r\nHost: u@h\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: h\r\n\r\n',
  ],
  ['an empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n', 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'],
  [
    'another transfer coding',
    'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  [
    'chunked twice',
    'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  [
    'a transfer coding in HTTP/1.0',
    'POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
] as const) {
  test(`refused: ${fault}`, async (t) => {
    const upstream = await startRecorder(t)
    const { port, outcomes } = await startProxy(t, upstream.url)
    assert.match(await ask(t, port, refused), /^HTTP\/1\.1 400 /)
    assert.equal(upstream.requests.length, 0)
    assert.match(await ask(t, port, twin), /^HTTP\/1\.1 200 /)
    assert.equal(upstream.requests.length, 1)
    assert.ok(
      outcomes.every((outcome) => ['answered', 'invalid_request', 'gone'].includes(outcome)),
    )
  })
}

test('an alias of a framing header is not forwarded and frames nothing', async (t) => {
  const upstream = await startRecorder(t)
  const { port } = await startProxy(t, upstream.url)
  for (const alias of ['Transfer_Encoding: chunked', 'Content_Length: 9', 'Transfer.Encoding: x']) {
    await ask(t, port, `GET / HTTP/1.1\r\nHost: h\r\n${alias}\r\n\r\n`)
  }
  assert.equal(upstream.requests.length, 3)
  assert.doesNotMatch(upstream.raw(), /transfer.encoding|content.length/i)
})

test('an answer to HTTP/1.0 ends with its connection, and Via says which version came', async (t) => {
  const upstream = await startRecorder(
    t,
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  )
  const { port } = await startProxy(t, upstream.url)
  for (const lines of ['', 'TE: chunked\r\n', 'Connection: TE, keep-alive\r\nTE: chunked\r\n']) {
    const wire = await dial(t, port)
    wire.socket.write(`GET /orders HTTP/1.0\r\n${lines}\r\n`)
    assert.equal(await wire.closed, 'end')
    assert.match(wire.text(), /\r\n\r\nok$/)
    assert.doesNotMatch(wire.text(), /transfer-encoding/i)
  }
  assert.deepEqual(upstream.header(0, 'via'), ['1.0 behalf'])
  assert.deepEqual(upstream.header(0, 'x-forwarded-host'), [])
})

test('100 is sent when the body is wanted, not before', async (t) => {
  const upstream = await startRecorder(t)
  const { port } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(
    'PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n',
  )
  await wire.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/)
  assert.equal(upstream.requests.length, 0)
  wire.socket.write('abc')
  await wire.until(/\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok/)
  assert.equal(upstream.requests[0]!.body, 'abc')
  assert.deepEqual(upstream.header(0, 'expect'), [])
})

test('100 is never sent for an upstream that is not there', async (t) => {
  const { port } = await startProxy(t, 'http://127.0.0.1:1')
  const head = 'PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n'
  assert.match(await ask(t, port, head), /^HTTP\/1\.1 502 /)
})

test('another expectation is refused', async (t) => {
  const upstream = await startRecorder(t)
  const { port } = await startProxy(t, upstream.url)
  const head = (expect: string) => `GET / HTTP/1.1\r\nHost: h\r\nExpect: ${expect}\r\n\r\n`
  for (const expect of ['200-ok', 'y 100-continue', '100-continue, x']) {
    assert.match(await ask(t, port, head(expect)), /^HTTP\/1\.1 417 /)
  }
  assert.equal(upstream.requests.length, 0)
  assert.match(await ask(t, port, head('100-continue')), /^HTTP\/1\.1 200 /)
})

test('exactly the matched bytes are forwarded, below the path of the upstream', async (t) => {
  const upstream = await startRecorder(t)
  const { port } = await startProxy(t, `${upstream.url}/base/v1`)
  const targets = ['/', '/orders?', '/caf%C3%A9%20x/?a=%2e%2E&b=//c', '/a;b=1/:@!$&', '/?q']
  for (const target of targets) {
    await ask(t, port, `GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`)
  }
  assert.deepEqual(
    upstream.requests.map(({ path }) => path),
    targets.map((target) => `/base/v1${target}`),
  )
})
