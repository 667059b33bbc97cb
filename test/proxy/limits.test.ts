import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { ask, dial, LIMITS, startHttp, startProxy, startRecorder } from './upstream.ts'

const HEAD = 'POST /orders HTTP/1.1\r\nHost: h\r\n'
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`

test('a body whose length is told to be too large is refused before anything is sent', async (t) => {
  const upstream = await startRecorder(t)
  const { port, outcomes } = await startProxy(t, upstream.url, {
    proxy: { limits: { ...LIMITS, body: 4 } },
  })
  assert.match(
    await ask(t, port, `${HEAD}Content-Length: 5\r\n\r\n12345`),
    /^HTTP\/1\.1 413 [^]*"code":"content_too_large"/,
  )
  assert.equal(upstream.raw(), '')
  assert.match(await ask(t, port, `${HEAD}Content-Length: 4\r\n\r\n1234`), /^HTTP\/1\.1 200 /)
  assert.deepEqual(outcomes, ['content_too_large', 'answered'])
})

test('a body that turns out to be too large is refused, and never arrives whole', async (t) => {
  const upstream = await startRecorder(t)
  const { port } = await startProxy(t, upstream.url, {
    proxy: { limits: { ...LIMITS, body: 4 } },
  })
  const chunked = `${HEAD}Transfer-Encoding: chunked\r\n\r\n`
  const large = chunked + chunk('123') + chunk('45') + '0\r\n\r\n'
  assert.match(await ask(t, port, large), /^HTTP\/1\.1 413 /)
  assert.equal(upstream.requests.length, 0)
  const fits = chunked + chunk('123') + chunk('4') + '0\r\n\r\n'
  assert.match(await ask(t, port, fits), /^HTTP\/1\.1 200 /)
  assert.equal(upstream.requests.length, 1)
  assert.doesNotMatch(upstream.raw(), /\r\n45/)
})

test('an answer that had begun when the body became too large is cut', async (t) => {
  const url = await startHttp(t, (request, response) => {
    request.once('data', () => response.write('half'))
  })
  const { port, outcomes, settled } = await startProxy(t, url, {
    proxy: { limits: { ...LIMITS, body: 4 } },
  })
  const wire = await dial(t, port)
  wire.socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n${chunk('123')}`)
  await wire.until(/half/)
  wire.socket.write(chunk('45'))
  await wire.closed
  await settled(1)
  assert.deepEqual(outcomes, ['content_too_large'])
  assert.doesNotMatch(wire.text(), /0\r\n\r\n$/)
})

test('a header section has as many lines, and bytes, as the route takes', async (t) => {
  const upstream = await startRecorder(t)
  const limits = { ...LIMITS, headerCount: 4, headers: 64 }
  const { port } = await startProxy(t, upstream.url, { proxy: { limits } })
  const get = (lines: string): string => `GET / HTTP/1.1\r\nHost: h\r\n${lines}\r\n`
  const four = 'a: 1\r\nb: 2\r\nc: 3\r\n'
  assert.match(await ask(t, port, get(four)), /^HTTP\/1\.1 200 /)
  assert.match(await ask(t, port, get(`${four}d: 4\r\n`)), /^HTTP\/1\.1 431 /)
  // `Host` and `h` are 5 of the 64 bytes, the name of the other is one.
  assert.match(await ask(t, port, get(`a: ${'x'.repeat(58)}\r\n`)), /^HTTP\/1\.1 200 /)
  assert.match(await ask(t, port, get(`a: ${'x'.repeat(59)}\r\n`)), /^HTTP\/1\.1 431 /)
})

test('a caller that stops in its body is told 408, and the upstream gets no whole request', async (t) => {
  const upstream = await startRecorder(t)
  const limits = { ...LIMITS, idleMs: 150 }
  const { port, outcomes } = await startProxy(t, upstream.url, { proxy: { limits } })
  const wire = await dial(t, port)
  wire.socket.write(`${HEAD}Content-Length: 5\r\n\r\n12`)
  await wire.until(/^HTTP\/1\.1 408 [^]*"code":"request_timeout"/)
  assert.deepEqual(outcomes, ['request_timeout'])
  await upstream.ended()
  assert.equal(upstream.requests.length, 0)
})

test('a caller that is slow, and never idle for long, is served', async (t) => {
  const upstream = await startRecorder(t)
  const limits = { ...LIMITS, idleMs: 1_000 }
  const { port } = await startProxy(t, upstream.url, { proxy: { limits } })
  const wire = await dial(t, port)
  wire.socket.write(`${HEAD}Content-Length: 6\r\n\r\n`)
  for (const byte of '123456') {
    await new Promise((resolve) => setTimeout(resolve, 300))
    wire.socket.write(byte)
  }
  await wire.until(/^HTTP\/1\.1 200 /)
  assert.equal(upstream.requests[0]!.body, '123456')
})

test('an upstream that is slow to take a body is not the caller’s idleness', async (t) => {
  const url = await startHttp(t, (request, response) => {
    // Long enough for several idle times.
    setTimeout(() => request.resume().on('end', () => response.end('ok')), 900)
  })
  const limits = { ...LIMITS, idleMs: 200 }
  const { port, outcomes } = await startProxy(t, url, { proxy: { limits } })
  const size = 8_000_000
  const wire = await dial(t, port)
  wire.socket.write(`${HEAD}Content-Length: ${size}\r\n\r\n`)
  wire.socket.write(Buffer.alloc(size))
  await wire.until(/^HTTP\/1\.1 200 /)
  assert.deepEqual(outcomes, ['answered'])
})

for (const [what, total, outcome] of [
  ['longer than it may', 200, 'upstream_timeout'],
  ['as long as it may', 20_000, 'answered'],
] as const) {
  test(`a request that takes ${what} is ${total === 200 ? 'given up' : 'answered'}`, async (t) => {
    const url = await startHttp(t, (_request, response) => {
      setTimeout(() => response.end('ok'), 600)
    })
    const limits = { ...LIMITS, totalMs: total }
    const { port, outcomes, settled } = await startProxy(t, url, { proxy: { limits } })
    const answer = await ask(t, port, 'GET / HTTP/1.1\r\nHost: h\r\n\r\n')
    assert.match(answer, outcome === 'answered' ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 504 /)
    await settled(1)
    assert.deepEqual(outcomes, [outcome])
  })
}

test('a body that trickles ends with the time of the request, and its caller is blamed', async (t) => {
  const upstream = await startRecorder(t)
  const limits = { ...LIMITS, totalMs: 400 }
  const { port, outcomes } = await startProxy(t, upstream.url, { proxy: { limits } })
  const wire = await dial(t, port)
  wire.socket.write(`${HEAD}Content-Length: 1000\r\n\r\n`)
  const trickle = setInterval(() => wire.socket.write('x'), 50)
  t.after(() => clearInterval(trickle))
  await wire.until(/^HTTP\/1\.1 408 /)
  assert.deepEqual(outcomes, ['request_timeout'])
})

test('an answer that is under way when time is up is cut', async (t) => {
  const url = await startHttp(t, (_request, response) => {
    response.write('piece')
    const piece = setInterval(() => response.write('piece'), 50)
    response.on('close', () => clearInterval(piece))
  })
  const limits = { ...LIMITS, totalMs: 1_500 }
  const { port, outcomes, settled } = await startProxy(t, url, { proxy: { limits } })
  const wire = await dial(t, port)
  wire.socket.write('GET / HTTP/1.1\r\nHost: h\r\n\r\n')
  await wire.closed
  assert.match(wire.text(), /piece/)
  assert.doesNotMatch(wire.text(), /0\r\n\r\n$/)
  await settled(1)
  assert.deepEqual(outcomes, ['upstream_timeout'])
})

for (const framing of ['a length', 'chunks'] as const) {
  test(`a caller that does not read an answer with ${framing} is cut off, and the upstream let go`, async (t) => {
    let closed = (): void => undefined
    const gone = new Promise<void>((resolve) => (closed = resolve))
    const size = 64 * 1024 * 1024
    const url = await startHttp(t, (_request, response) => {
      if (framing === 'a length') response.setHeader('content-length', size)
      response.on('close', closed)
      response.end(Buffer.alloc(size))
    })
    const limits = { ...LIMITS, idleMs: 300 }
    const { port, outcomes, settled } = await startProxy(t, url, { proxy: { limits } })
    const wire = await dial(t, port)
    wire.socket.pause()
    wire.socket.write('GET / HTTP/1.1\r\nHost: h\r\n\r\n')
    await settled(1)
    await gone
    assert.deepEqual(outcomes, ['gone'])
  })
}

test('a caller that reads slowly, and never rests for long, gets the whole answer', async (t) => {
  const size = 8 * 1024 * 1024
  const url = await startHttp(t, (_request, response) => {
    response.setHeader('content-length', size)
    response.end(Buffer.alloc(size))
  })
  const limits = { ...LIMITS, idleMs: 1_500 }
  const { port, outcomes, settled } = await startProxy(t, url, { proxy: { limits } })
  const wire = await dial(t, port)
  wire.socket.on('data', () => {
    wire.socket.pause()
    setTimeout(() => wire.socket.resume(), 10)
  })
  wire.socket.write('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
  await once(wire.socket, 'end')
  await settled(1)
  assert.deepEqual(outcomes, ['answered'])
})

test('a caller that has read what there was may wait for more, however long the upstream takes', async (t) => {
  const size = 16 * 1024 * 1024
  const url = await startHttp(t, (_request, response) => {
    response.write(Buffer.alloc(size), () => setTimeout(() => response.end('the end'), 2_000))
  })
  const limits = { ...LIMITS, idleMs: 800 }
  const { port, outcomes, settled } = await startProxy(t, url, { proxy: { limits } })
  const wire = await dial(t, port)
  wire.socket.pause()
  setTimeout(() => wire.socket.resume(), 500)
  wire.socket.write('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
  await wire.closed
  assert.match(wire.text().slice(-40), /the end/)
  await settled(1)
  assert.deepEqual(outcomes, ['answered'])
})
