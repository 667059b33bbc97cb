import assert from 'node:assert/strict'
import http from 'node:http'
import net, { type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { ask, deferred, dial, listen, startProxy, token } from './upstream.ts'

const GET = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'

/** An upstream that says one thing to each request, and then does one thing to it. */
async function startCanned(
  t: TestContext,
  answer: string,
  then: (socket: Socket) => void = () => undefined,
): Promise<string> {
  const server = net.createServer((socket) => {
    t.after(() => socket.destroy())
    socket.on('error', () => undefined)
    socket.on('data', () => socket.write(answer, 'latin1', () => then(socket)))
  })
  return `http://127.0.0.1:${await listen(t, server)}`
}

async function answerTo(t: TestContext, upstream: string, request = GET): Promise<string> {
  const { port } = await startProxy(t, upstream)
  return ask(t, port, request)
}

test('an answer comes back with its status, its headers and its body', async (t) => {
  const upstream = await startCanned(
    t,
    'HTTP/1.1 418 Whatever\r\nDate: d\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Latin: caf\xe9\r\n' +
      'Content-Length: 2\r\nConnection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: timeout=9\r\n' +
      'Proxy-Authenticate: Basic\r\nTrailer: T\r\nX-Request-Id: theirs\r\nServer: s\r\n\r\nok',
  )
  const answer = await answerTo(t, upstream)
  const [head = '', body] = answer.split('\r\n\r\n')
  assert.equal(body, 'ok')
  assert.deepEqual(head.split('\r\n'), [
    "HTTP/1.1 418 I'm a Teapot",
    'Date: d',
    'Set-Cookie: a=1',
    'set-cookie: b=2',
    'X-Latin: caf\xe9',
    'Server: s',
    'Content-Length: 2',
    'X-Request-Id: id-1',
    'Connection: keep-alive',
    'Keep-Alive: timeout=5',
  ])
})

test('headers that were set before stand beside those of the answer', async (t) => {
  const upstream = await startCanned(
    t,
    'HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Frame-Options: DENY\r\ncontent-length: 2\r\n\r\nok',
  )
  const { server, port } = await startProxy(t, upstream)
  server.prependListener('request', (_, response) => {
    response.setHeader('X-Frame-Options', 'SAMEORIGIN')
    response.setHeader('X-Mine', '1')
  })
  const answer = await ask(t, port, GET)
  assert.deepEqual(answer.match(/^(?:set-cookie|x-frame-options|x-mine): .*$/gim)?.sort(), [
    'Set-Cookie: a=1',
    'Set-Cookie: b=2',
    'X-Frame-Options: DENY',
    'X-Mine: 1',
  ])
})

for (const [what, request, answer, expected] of [
  [
    'HEAD',
    'HEAD',
    'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n',
    /^HTTP\/1.1 200 [^]*-length: 9/i,
  ],
  ['a 204', 'GET', 'HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n', /^HTTP\/1.1 204 /],
  [
    'a 304',
    'GET',
    'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
    /^HTTP\/1.1 304 [^]*ETag: "a"/,
  ],
  [
    'a 304 with the length of what it stands for',
    'GET',
    'HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n',
    /^HTTP\/1.1 304 /,
  ],
  ['an empty 200', 'GET', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', /^HTTP\/1.1 200 /],
] as const) {
  test(`${what} is answered without a body, and the connection goes on`, async (t) => {
    const upstream = await startCanned(t, answer)
    const { port, outcomes, settled } = await startProxy(t, upstream)
    const wire = await dial(t, port)
    wire.socket.write(`${request} / HTTP/1.1\r\nHost: h\r\n\r\n`)
    await wire.until(/\r\n\r\n/)
    assert.match(wire.text(), expected)
    assert.match(wire.text(), /\r\n\r\n$/)
    assert.doesNotMatch(wire.text(), /^transfer-encoding/im)
    if (what === 'a 204') assert.doesNotMatch(wire.text(), /^content-length/im)
    await settled(1)
    wire.socket.write(`${request} / HTTP/1.1\r\nHost: h\r\n\r\n`)
    await settled(2)
    assert.deepEqual(outcomes, ['answered', 'answered'])
  })
}

test('interim answers are not mistaken for the answer', async (t) => {
  const upstream = await startCanned(
    t,
    'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  )
  assert.match(await answerTo(t, upstream), /^HTTP\/1\.1 200 OK[^]*ok$/)
})

test('trailers are dropped', async (t) => {
  const upstream = await startCanned(
    t,
    'HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n',
  )
  const { port } = await startProxy(t, upstream)
  const wire = await dial(t, port)
  wire.socket.write(GET)
  await wire.until(/\r\n\r\n2\r\nok\r\n0\r\n\r\n$/)
  assert.doesNotMatch(wire.text(), /x-t/i)
})

const CHUNKED = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n'
const SIZED = 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok'
const CLOSED = 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok'
const ends = (socket: Socket): void => void socket.end()
const resets = (socket: Socket): void => void setImmediate(() => socket.resetAndDestroy())

for (const [what, answer, then] of [
  ['ends within its chunks', CHUNKED, ends],
  ['is reset within its chunks', CHUNKED, resets],
  ['ends before its length', SIZED, ends],
  ['is reset before its length', SIZED, resets],
  ['closes before its length, as announced', SIZED.replace('OK', 'OK\r\nconnection: close'), ends],
  ['is reset, having no length', CLOSED, resets],
  ['sends a chunk that is none', `${CHUNKED}zz\r\n`, () => undefined],
] as const) {
  test(`an answer that ${what} is cut, never ended as if it were whole`, async (t) => {
    let sent = (): void => undefined
    let socket: Socket | undefined
    const upstream = await startCanned(t, answer, (one) => {
      socket = one
      sent()
    })
    const arrived = new Promise<void>((resolve) => (sent = resolve))
    const { port, outcomes, settled } = await startProxy(t, upstream)
    const wire = await dial(t, port)
    wire.socket.write(GET)
    await arrived
    if (!answer.includes('zz')) await wire.until(/ok/)
    then(socket!)
    await wire.closed
    await settled(1)
    assert.deepEqual(outcomes, ['upstream_unavailable'])
    assert.doesNotMatch(wire.text(), /0\r\n\r\n$/)
  })
}

test('a cut answer resets the connection of an HTTP/1.0 caller, to whom its end would be an end', async (t) => {
  let socket: Socket | undefined
  const upstream = await startCanned(t, CHUNKED, (one) => (socket = one))
  const { port } = await startProxy(t, upstream)
  const wire = await dial(t, port)
  wire.socket.write('GET / HTTP/1.0\r\n\r\n')
  await wire.until(/ok$/)
  socket!.destroy()
  assert.equal(await wire.closed, 'reset')
})

test('an answer that ends with its connection is whole when the connection ends', async (t) => {
  const { port, outcomes, settled } = await startProxy(t, await startCanned(t, CLOSED, ends))
  const wire = await dial(t, port)
  wire.socket.write(GET)
  await wire.until(/2\r\nok\r\n0\r\n\r\n$/)
  await settled(1)
  assert.deepEqual(outcomes, ['answered'])
})

for (const [what, answer] of [
  ['nothing', ''],
  ['no HTTP', 'SSH-2.0-OpenSSH_9.6\r\n'],
  ['half a head', 'HTTP/1.1 200 OK\r\nX-A: '],
  ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok'],
  ['an unknown transfer coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok'],
  ['an upgrade nobody asked for', 'HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
  ['a header that is none', 'HTTP/1.1 200 OK\r\nX-A: \x01\r\ncontent-length: 2\r\n\r\nok'],
  ['a head without end', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`],
] as const) {
  test(`an upstream that answers ${what} is unavailable`, async (t) => {
    const upstream = await startCanned(t, answer, (socket) => socket.end())
    const { port, outcomes } = await startProxy(t, upstream)
    assert.match(await ask(t, port, GET), /^HTTP\/1\.1 502 [^]*"code":"upstream_unavailable"/)
    assert.deepEqual(outcomes, ['upstream_unavailable'])
  })
}

test('an upstream that is not there is unavailable', async (t) => {
  assert.match(
    await answerTo(t, 'http://127.0.0.1:1'),
    /^HTTP\/1\.1 502 [^]*"code":"upstream_unavailable"/,
  )
})

test('an upstream that stays silent is out of time', async (t) => {
  const upstream = await startCanned(t, '')
  const { port, failures } = await startProxy(t, upstream, { proxy: { timeoutMs: 20 } })
  assert.match(await ask(t, port, GET), /^HTTP\/1\.1 504 [^]*"code":"upstream_timeout"/)
  assert.equal((failures[0] as { cause: { code: string } }).cause.code, 'UND_ERR_HEADERS_TIMEOUT')
})

test('an upstream that never gets as far as a connection is out of time', async (t) => {
  // It accepts, and then says nothing of TLS.
  const upstream = (await startCanned(t, '')).replace('http:', 'https:')
  const { port, failures } = await startProxy(t, upstream, { proxy: { timeoutMs: 20 } })
  assert.match(await ask(t, port, GET), /^HTTP\/1\.1 504 [^]*"code":"upstream_timeout"/)
  assert.equal((failures[0] as { cause: { code: string } }).cause.code, 'UND_ERR_CONNECT_TIMEOUT')
})

test('an upstream that falls silent within its answer is out of time, and the answer is cut', async (t) => {
  const upstream = await startCanned(t, SIZED)
  const { port, outcomes, settled } = await startProxy(t, upstream, { proxy: { timeoutMs: 20 } })
  const wire = await dial(t, port)
  wire.socket.write(GET)
  await wire.until(/ok/)
  await wire.closed
  await settled(1)
  assert.deepEqual(outcomes, ['upstream_timeout'])
})

for (const challenge of [
  'Bearer',
  'bearer error="invalid_token"',
  'DPoP error="use_dpop_nonce"',
  'Basic realm="a, b", Bearer',
  'Negotiate, BEARER realm="x"',
]) {
  test(`a 401 with ${challenge} is kept from the caller: the token was ours`, async (t) => {
    const upstream = await startCanned(
      t,
      `HTTP/1.1 401 U\r\nWWW-Authenticate: ${challenge}\r\nX-Secret: 1\r\ncontent-length: 6\r\n\r\nsecret`,
    )
    const { port, outcomes } = await startProxy(t, upstream)
    const answer = await ask(t, port, GET)
    assert.match(answer, /^HTTP\/1\.1 502 [^]*"code":"upstream_rejected_token"/)
    assert.doesNotMatch(answer, /secret/i)
    assert.deepEqual(outcomes, ['token_rejected'])
  })
}

for (const [what, answer] of [
  ['without a challenge', 'HTTP/1.1 401 U\r\ncontent-length: 2\r\n\r\nok'],
  [
    'of another scheme',
    'HTTP/1.1 401 U\r\nWWW-Authenticate: Basic realm="a, Bearer b"\r\ncontent-length: 2\r\n\r\nok',
  ],
  [
    'with a parameter of that name',
    'HTTP/1.1 401 U\r\nWWW-Authenticate: X a=1, bearer="1"\r\ncontent-length: 2\r\n\r\nok',
  ],
  [
    'of a longer scheme',
    'HTTP/1.1 401 U\r\nWWW-Authenticate: Bearers\r\ncontent-length: 2\r\n\r\nok',
  ],
] as const) {
  test(`a 401 ${what} is the upstream's own answer`, async (t) => {
    const upstream = await startCanned(t, answer)
    const { port, outcomes, settled } = await startProxy(t, upstream)
    assert.match(await ask(t, port, GET), /^HTTP\/1\.1 401 [^]*ok$/)
    await settled(1)
    assert.deepEqual(outcomes, ['answered'])
  })
}

test('a 401 with Bearer is the answer where no token was sent, and so is a 403', async (t) => {
  const head = (status: number) =>
    `HTTP/1.1 ${status} X\r\nWWW-Authenticate: Bearer\r\ncontent-length: 2\r\n\r\nok`
  const none = await startProxy(t, await startCanned(t, head(401)), { token: token('', 'none') })
  assert.match(await ask(t, none.port, GET), /^HTTP\/1\.1 401 [^]*Bearer/)
  assert.match(await answerTo(t, await startCanned(t, head(403))), /^HTTP\/1\.1 403 [^]*Bearer/)
})

test('the connection of a refused token is used again', async (t) => {
  let connections = 0
  const server = http.createServer((_, response) => {
    response.writeHead(401, { 'www-authenticate': 'Bearer' }).end('x'.repeat(1_000))
  })
  server.on('connection', () => connections++)
  const { port, outcomes } = await startProxy(t, `http://127.0.0.1:${await listen(t, server)}`)
  for (let count = 0; count < 5; count++) {
    await ask(t, port, GET)
    // The rest of the refused answer comes in turns of the loop of its own.
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.equal(outcomes.length, 5)
  assert.equal(connections, 1)
})

test('a refused token whose answer never ends does not keep its connection', async (t) => {
  const closed = deferred()
  const upstream = await startCanned(
    t,
    'HTTP/1.1 401 U\r\nWWW-Authenticate: Bearer\r\ntransfer-encoding: chunked\r\n\r\n',
    (socket) => {
      socket.on('close', () => closed.resolve())
      const more = (): void => {
        if (!socket.destroyed)
          socket.write(`1000\r\n${'x'.repeat(4_096)}\r\n`, () => setImmediate(more))
      }
      more()
    },
  )
  assert.match(await answerTo(t, upstream), /^HTTP\/1\.1 502 /)
  await closed.promise
})
