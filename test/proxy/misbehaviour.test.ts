/** Upstreams that break the rules of HTTP, each by raw bytes: what one caller gets never spoils what the next one gets. */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { OK, startRawUpstream, type RawUpstream } from '../attack/wire.ts'
import { dial, startProxy, type Started } from './upstream.ts'

interface World extends Started {
  readonly upstream: RawUpstream
}

async function world(t: TestContext, timeoutMs = 30_000): Promise<World> {
  const upstream = await startRawUpstream(t)
  const proxy = { timeoutMs, retries: 0 }
  return { ...(await startProxy(t, upstream.origin, { proxy })), upstream }
}

interface Got {
  readonly status: number
  readonly body: string
  /** Whether the answer says where it ends, and ends there. */
  readonly isWhole: boolean
}

/** On a connection of its own, which is to end with the answer. */
async function get(t: TestContext, port: number, method = 'GET'): Promise<Got> {
  const wire = await dial(t, port)
  wire.socket.write(`${method} /orders HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`)
  await wire.closed
  const text = wire.text()
  const end = text.indexOf('\r\n\r\n') + 4
  const [head, body] = [text.slice(0, end), text.slice(end)]
  const length = /^content-length: (\d+)/im.exec(head)?.[1]
  const isChunked = /^transfer-encoding: chunked/im.test(head)
  const isWhole = isChunked ? body.endsWith('0\r\n\r\n') : Number(length) === body.length
  return { status: Number(text.slice(9, 12)), body, isWhole: isWhole || method === 'HEAD' }
}

const EVIL = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL'
const CHUNKS = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n'
const SHORT = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok'

function sized(length: string): string {
  return `HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\nok`
}

/** `cut`: it had begun, and does not look whole. `kept`: the connection may serve the next request. */
const CASES: readonly (readonly [
  what: string,
  answer: string,
  expected: number | 'cut',
  after: 'kept' | 'gone',
  then?: 'end' | 'reset',
])[] = [
  ['an answer', OK, 200, 'kept'],
  ['less than its length, and ends', SHORT, 'cut', 'gone', 'end'],
  ['less than its length, and resets', SHORT, 'cut', 'gone', 'reset'],
  ['more than its length', `${OK}EVIL`, 200, 'gone'],
  ['two answers', OK + EVIL, 200, 'gone'],
  ['chunks without an end, and ends', CHUNKS, 'cut', 'gone', 'end'],
  ['chunks without an end, and resets', CHUNKS, 'cut', 'gone', 'reset'],
  ['chunks, and an answer after them', `${CHUNKS}0\r\n\r\n${EVIL}`, 200, 'gone'],
  ['chunks with trailers', `${CHUNKS}0\r\nX-T: 1\r\n\r\n`, 200, 'kept'],
  ['a length among the trailers', `${CHUNKS}0\r\ncontent-length: 9\r\n\r\n`, 'cut', 'gone'],
  ['trailers without an end', `${CHUNKS}0\r\nX-T: 1\r\n`, 'cut', 'gone', 'end'],
  ['a chunk larger than any', `${CHUNKS}ffffffffffffffffff\r\nEVIL`, 'cut', 'gone'],
  ['a chunk of negative size', `${CHUNKS}-2\r\nEVIL`, 'cut', 'gone'],
  ['a chunk without its line end', `${CHUNKS}2\r\nokEVIL`, 'cut', 'gone'],
  ['a length with a sign', sized('+2'), 502, 'gone'],
  ['a length in hexadecimal', sized('0x2'), 502, 'gone'],
  ['a list of lengths', sized('2, 2'), 502, 'gone'],
  ['a length beyond counting', sized('99999999999999999999'), 502, 'gone'],
  ['an empty length', sized(''), 502, 'gone'],
  ['a space before a colon', 'HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok', 502, 'gone'],
  ['a name without a colon', 'HTTP/1.1 200 OK\r\nwhat\r\ncontent-length: 2\r\n\r\nok', 502, 'gone'],
  ['a line feed for a line end', 'HTTP/1.1 200 OK\ncontent-length: 2\n\nok', 502, 'gone'],
  ['a version of its own', OK.replace('1.1', '7.3'), 502, 'gone'],
  ['no version', '<html>ok</html>', 502, 'gone', 'end'],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 502, 'gone'],
  ['a reset before its head', '', 502, 'gone', 'reset'],
  ['an end before its head', '', 502, 'gone', 'end'],
  ['an end within its head', 'HTTP/1.1 200 OK\r\nX-A: b\r\n', 502, 'gone', 'end'],
  ['100 that nobody waits for', `HTTP/1.1 100 C\r\n\r\n${OK}`, 502, 'gone'],
  ['early hints, and then nothing', 'HTTP/1.1 103 E\r\nX-A: b\r\n\r\n', 502, 'gone', 'end'],
]

for (const [what, answer, expected, after, then] of CASES) {
  const told = expected === 'cut' ? 'is cut' : `is ${expected}`
  test(`${what}: the answer ${told}, and the connection is ${after}`, async (t) => {
    const { port, upstream } = await world(t, 2_000)
    const used = new Set<Socket>()
    upstream.answer = (socket) => {
      used.add(socket)
      socket.write(answer, 'latin1', () => {
        if (then === 'end') socket.end()
        if (then === 'reset') socket.resetAndDestroy()
      })
    }
    const got = await get(t, port)
    assert.equal(got.body.includes('EVIL'), false)
    if (expected === 'cut') {
      // A reset may come before anything else has left.
      assert.ok(got.status === 502 || !got.isWhole, JSON.stringify(got))
    } else {
      assert.deepEqual([got.status, got.isWhole], [expected, true])
    }
    upstream.answer = (socket) => {
      used.add(socket)
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext')
    }
    assert.deepEqual(await get(t, port), { status: 200, body: 'next', isWhole: true })
    assert.equal(used.size, after === 'kept' ? 1 : 2)
  })
}

for (const [what, method, answer] of [
  ['HEAD', 'HEAD', `HTTP/1.1 200 OK\r\ncontent-length: ${EVIL.length}\r\n\r\n${EVIL}`],
  ['204', 'GET', `HTTP/1.1 204 N\r\ncontent-length: ${EVIL.length}\r\n\r\n${EVIL}`],
  ['304', 'GET', `HTTP/1.1 304 N\r\ncontent-length: ${EVIL.length}\r\n\r\n${EVIL}`],
] as const) {
  test(`a body after ${what} is nobody's answer`, async (t) => {
    const { port, upstream } = await world(t)
    upstream.answer = (socket) => void socket.write(answer)
    const first = await get(t, port, method)
    assert.equal(first.body, '')
    upstream.answer = (socket) => void socket.write(OK)
    assert.equal((await get(t, port)).body, 'ok')
  })
}

test('an answer that comes unasked, after one that was whole, is nobody’s', async (t) => {
  const { port, upstream } = await world(t)
  const gone = new Promise<void>((resolve) => {
    upstream.answer = (socket) => {
      socket.write(OK)
      socket.once('close', () => resolve())
      setImmediate(() => socket.write(EVIL))
    }
  })
  assert.equal((await get(t, port)).body, 'ok')
  await gone
  upstream.answer = (socket) => void socket.write(OK)
  assert.equal((await get(t, port)).body, 'ok')
})

test('interim answers for ever are no sign of life: the upstream is out of time', async (t) => {
  const { port, upstream, outcomes } = await world(t, 300)
  upstream.answer = (socket) => {
    const dripping = setInterval(() => socket.write('HTTP/1.1 103 E\r\nX-A: b\r\n\r\n'), 20)
    socket.on('close', () => clearInterval(dripping))
  }
  assert.equal((await get(t, port)).status, 504)
  assert.deepEqual(outcomes, ['upstream_timeout'])
  upstream.answer = (socket) => void socket.write(OK)
  assert.equal((await get(t, port)).body, 'ok')
})

test('a few interim answers, and the answer in time, are fine', async (t) => {
  const { port, upstream } = await world(t, 5_000)
  upstream.answer = (socket) => {
    let count = 0
    const dripping = setInterval(() => {
      socket.write(++count < 5 ? 'HTTP/1.1 103 E\r\nX-A: b\r\n\r\n' : OK)
      if (count === 5) clearInterval(dripping)
    }, 20)
  }
  assert.equal((await get(t, port)).body, 'ok')
})

test('a body of one byte at a time comes whole, however long it takes', async (t) => {
  const { port, upstream } = await world(t, 2_000)
  upstream.answer = (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n')
    let count = 0
    const dripping = setInterval(() => {
      socket.write('x')
      if (++count === 20) clearInterval(dripping)
    }, 10)
  }
  assert.deepEqual(await get(t, port), { status: 200, body: 'x'.repeat(20), isWhole: true })
})

test('an upstream that never reads is out of time, and the caller is told while it sends', async (t) => {
  const { port, upstream, outcomes } = await world(t, 500)
  upstream.answer = (socket) => void socket.pause()
  const wire = await dial(t, port)
  const length = 64 * 1024 * 1024
  wire.socket.write(`POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: ${length}\r\n\r\n`)
  const chunk = Buffer.alloc(1024 * 1024)
  const send = (): void => {
    while (!wire.socket.destroyed && wire.socket.write(chunk)) continue
  }
  wire.socket.on('drain', send)
  send()
  await wire.until(/^HTTP\/1\.1 504 /)
  wire.socket.destroy()
  assert.deepEqual(outcomes, ['upstream_timeout'])
})
