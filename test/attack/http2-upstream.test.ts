/** A hostile upstream that speaks HTTP/2, byte by byte. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { FLAG, frame, headerBlock, type Lines, settings, TYPE, word } from '../http2-wire.ts'
import { dial, listen, startProxy, type Started } from '../proxy/upstream.ts'

const bounded = { timeout: 60_000 }

interface Upstream {
  readonly url: string
  connections: number
  /** What it sends when the head of the first request of a connection has come. */
  answer: Buffer
  /** What it says of itself. */
  own: Readonly<Record<number, number>>
}

async function startUpstream(t: TestContext): Promise<Upstream> {
  const server = net.createServer((socket) => {
    upstream.connections++
    t.after(() => socket.destroy())
    socket.on('error', () => undefined)
    let asked = false
    socket.on('data', (bytes: Buffer) => {
      // The head is the first frame of its stream.
      if (asked || !bytes.includes(Buffer.from([FLAG.END_HEADERS | FLAG.END_STREAM, 0, 0, 0, 1]))) {
        return
      }
      asked = true
      socket.write(upstream.answer)
    })
    socket.write(settings(upstream.own))
  })
  const upstream: Upstream = {
    url: `http://127.0.0.1:${await listen(t, server)}`,
    ...{ connections: 0, answer: GOOD, own: {} },
  }
  return upstream
}

const head = (lines: Lines, flags: number = FLAG.END_HEADERS): Buffer =>
  frame(TYPE.HEADERS, flags, 1, headerBlock(lines))
const data = (text: string, flags = 0): Buffer => frame(TYPE.DATA, flags, 1, Buffer.from(text))
const OK: Lines = [[':status', '200']]
const GOOD = Buffer.concat([head(OK), data('good', FLAG.END_STREAM)])

/** The answer as it stood on the wire of a caller of HTTP/1.1 that hangs up after it. */
async function ask(t: TestContext, { port }: Started): Promise<string> {
  const wire = await dial(t, port)
  wire.socket.write('GET /orders HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTE: trailers\r\n\r\n')
  await wire.closed
  return wire.text()
}

const WHOLE = /^HTTP\/1\.1 200 [^]*\r\n\r\n4\r\ngood\r\n0\r\n/
const with200 = (...lines: Lines): Buffer =>
  Buffer.concat([head([...OK, ...lines]), data('good', FLAG.END_STREAM)])

/** With lines of a thousand bytes. */
function head200(lines: number): Buffer {
  const long = Array.from({ length: 15 }, () => ['x-a', 'b'.repeat(992)] as const)
  const frames = Array.from({ length: Math.floor(lines / 15) }, () =>
    frame(TYPE.CONTINUATION, 0, 1, headerBlock(long)),
  )
  const last = frame(TYPE.CONTINUATION, FLAG.END_HEADERS, 1)
  return Buffer.concat([head(OK, 0), ...frames, last, data('good', FLAG.END_STREAM)])
}

for (const [what, answer] of [
  ['no status', head([['x-a', 'b']])],
  ['a status that is no number', head([[':status', 'abc']])],
  ['the status of a switch', head([[':status', '101']])],
  ['two statuses', head([...OK, ...OK])],
  ['a pseudo-header of requests', with200([':path', '/'])],
  ['framing of HTTP/1.1', with200(['transfer-encoding', 'chunked'])],
  ['options of a connection', with200(['connection', 'x-a'])],
  ['an upper-case header', with200(['X-Upper', 'b'])],
  ['two lengths', with200(['content-length', '4'], ['content-length', '5'])],
  ['a length that is none', with200(['content-length', '+4'])],
  ['a body before its head', data('good')],
  [
    'a promise that nobody wants',
    frame(TYPE.PUSH_PROMISE, 4, 1, Buffer.concat([word(2), headerBlock(OK)])),
  ],
  ['a head for nobody', frame(TYPE.HEADERS, FLAG.END_HEADERS, 2, headerBlock(OK))],
  [
    'a head that does not end',
    Buffer.concat([
      head(OK, 0),
      ...Array.from({ length: 100 }, () =>
        frame(TYPE.CONTINUATION, 0, 1, headerBlock([['x-a', 'b'.repeat(1_000)]])),
      ),
    ]),
  ],
  ['a head that is too large', head200(30)],
  ['what is not HTTP/2', Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood')],
] as const) {
  test(`${what} is no answer: 502, and the next one is`, bounded, async (t) => {
    const upstream = await startUpstream(t)
    const proxy = await startProxy(t, upstream.url, { proxy: { http2: true, timeoutMs: 1_000 } })
    upstream.answer = answer
    assert.match(await ask(t, proxy), /^HTTP\/1\.1 50[24] /)
    upstream.answer = GOOD
    upstream.own = {}
    // Another connection, or another stream of this one, on which this upstream does not answer.
    const next = await startProxy(t, upstream.url, { proxy: { http2: true } })
    assert.match(await ask(t, next), WHOLE)
  })
}

const LONG = Array.from({ length: 10 }, () => ['x-a', 'b'.repeat(992)] as const)

for (const [what, answer] of [
  [
    'has trailers that are too large',
    Buffer.concat([
      ...[head(OK), data('good'), head(LONG, FLAG.END_STREAM)],
      frame(TYPE.CONTINUATION, FLAG.END_HEADERS, 1, headerBlock(LONG)),
    ]),
  ],
  [
    'is shorter than its length',
    Buffer.concat([head([...OK, ['content-length', '9']]), data('good', 1)]),
  ],
  [
    'is longer than its length',
    Buffer.concat([head([...OK, ['content-length', '2']]), data('good', 1)]),
  ],
  [
    'has trailers with a pseudo-header',
    Buffer.concat([head(OK), data('good'), head([...OK, ['x-a', 'b']], 5)]),
  ],
  [
    'goes on after its trailers',
    Buffer.concat([head(OK), data('good'), head([['x-a', 'b']], 4), data('more', 1)]),
  ],
] as const) {
  test(`an answer that ${what} is never whole`, bounded, async (t) => {
    const upstream = await startUpstream(t)
    const proxy = await startProxy(t, upstream.url, { proxy: { http2: true, timeoutMs: 1_000 } })
    upstream.answer = answer
    const text = await ask(t, proxy)
    const [, length] = /^content-length: (\d+)\r$/im.exec(text) ?? []
    const body = text.slice(text.indexOf('\r\n\r\n') + 4)
    assert.ok(length === undefined ? !/\r\n0\r\n/.test(body) : body.length < Number(length), text)
    const twin = await startUpstream(t)
    twin.answer = Buffer.concat([head(OK), data('good'), head([['x-a', 'b']], 5)])
    const fair = await startProxy(t, twin.url, { proxy: { http2: true } })
    assert.match(await ask(t, fair), /4\r\ngood\r\n0\r\nx-a: b\r\n\r\n$/)
  })
}

const [MAX_STREAMS, INITIAL_WINDOW] = [3, 4]

test(
  'an upstream that takes no requests is unavailable, and is not asked for connections for ever',
  bounded,
  async (t) => {
    const upstream = await startUpstream(t)
    upstream.own = { [MAX_STREAMS]: 0 }
    const proxy = await startProxy(t, upstream.url, { proxy: { http2: true, retries: 0 } })
    assert.match(await ask(t, proxy), /^HTTP\/1\.1 502 /)
    assert.equal(upstream.connections, 1)
    upstream.own = { [MAX_STREAMS]: 1 }
    assert.match(await ask(t, proxy), WHOLE)
  },
)

test('an upstream that opens no window for a body is out of time', bounded, async (t) => {
  const upstream = await startUpstream(t)
  upstream.own = { [INITIAL_WINDOW]: 0 }
  const proxy = await startProxy(t, upstream.url, { proxy: { http2: true, timeoutMs: 1_000 } })
  const wire = await dial(t, proxy.port)
  wire.socket.write('POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody')
  await wire.until(/^HTTP\/1\.1 504 /)
})

test('an answer of many header lines is one', bounded, async (t) => {
  const upstream = await startUpstream(t)
  const lines = Array.from({ length: 500 }, (_, index) => [`x-${index}`, 'b'] as const)
  upstream.answer = with200(...lines)
  const proxy = await startProxy(t, upstream.url, { proxy: { http2: true } })
  const answer = await ask(t, proxy)
  assert.match(answer, WHOLE)
  assert.equal(answer.match(/^x-\d+: b\r$/gm)?.length, 500)
})

test('a thousand interim answers are none', bounded, async (t) => {
  const upstream = await startUpstream(t)
  upstream.answer = Buffer.concat([
    ...Array.from({ length: 1_000 }, () =>
      head([
        [':status', '103'],
        ['x-a', 'b'],
      ]),
    ),
    GOOD,
  ])
  const proxy = await startProxy(t, upstream.url, { proxy: { http2: true } })
  const answer = await ask(t, proxy)
  assert.match(answer, WHOLE)
  assert.doesNotMatch(answer, /x-a/)
})
