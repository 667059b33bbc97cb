import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener } from 'node:http'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { deferred, dial, listen, startProxy } from './upstream.ts'

const GET = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'
const POST = 'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n'
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`

/** An upstream, and the moment when the caller's side of one of its requests has gone. */
async function startWatched(t: TestContext, listener: RequestListener) {
  const asked = deferred()
  const gone = deferred()
  let connections = 0
  const server = http.createServer((request, response) => {
    response.on('close', () => {
      if (!response.writableFinished) gone.resolve()
    })
    request.on('error', () => undefined)
    listener(request, response)
    asked.resolve()
  })
  server.on('connection', () => connections++)
  const url = `http://127.0.0.1:${await listen(t, server)}`
  return { url, asked: asked.promise, gone: gone.promise, connections: () => connections }
}

test('a caller that goes away before its answer takes the upstream request with it', async (t) => {
  const upstream = await startWatched(t, () => undefined)
  const { port, outcomes, settled } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(GET)
  await upstream.asked
  wire.socket.destroy()
  await upstream.gone
  await settled(1)
  assert.deepEqual(outcomes, ['gone'])
})

test('a caller that goes away within its upload takes the upstream request with it', async (t) => {
  const upstream = await startWatched(t, (request) => request.resume())
  const { port, outcomes, settled } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(POST + chunk('some'))
  await upstream.asked
  wire.socket.destroy()
  await upstream.gone
  await settled(1)
  assert.deepEqual(outcomes, ['gone'])
})

test('a caller that goes away within its answer takes the upstream request with it', async (t) => {
  const upstream = await startWatched(t, (_, response) => {
    response.write('x'.repeat(1_000))
  })
  const { port, outcomes, settled } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(GET)
  await wire.until(/xxx/)
  wire.socket.destroy()
  await upstream.gone
  await settled(1)
  assert.deepEqual(outcomes, ['gone'])
})

test('a caller that goes away while its answer waits for it to read takes the upstream request with it', async (t) => {
  const upstream = await startWatched(t, (_, response) => pour(response, 1e9))
  const { port, outcomes, settled } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(GET)
  await wire.until(/xxx/)
  wire.socket.pause()
  await new Promise((resolve) => setTimeout(resolve, 50))
  wire.socket.destroy()
  await upstream.gone
  await settled(1)
  assert.deepEqual(outcomes, ['gone'])
})

test('a caller that goes away takes its pipelined requests with it', async (t) => {
  const both = deferred()
  const gone: string[] = []
  const all = deferred()
  const server = http.createServer((request, response) => {
    response.on('close', () => {
      gone.push(request.url ?? '')
      if (gone.length === 2) all.resolve()
    })
    if (request.url === '/2') {
      pour(response, 1e9)
      both.resolve()
    }
  })
  const { port, outcomes, settled } = await startProxy(
    t,
    `http://127.0.0.1:${await listen(t, server)}`,
  )
  const wire = await dial(t, port)
  wire.socket.write('GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n')
  await both.promise
  wire.socket.destroy()
  await all.promise
  await settled(2)
  assert.deepEqual(outcomes, ['gone', 'gone'])
})

test('many pipelined requests are answered in order, and without a warning', async (t) => {
  const upstream = await startWatched(t, (request, response) => {
    // The later, the sooner.
    const delay = 40 - Number(request.url?.slice(1))
    setTimeout(() => response.end(`<${request.url}>`), delay)
  })
  const warnings: Error[] = []
  const warned = (warning: Error): void => void warnings.push(warning)
  process.on('warning', warned)
  t.after(() => process.off('warning', warned))
  const { port, settled } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  const paths = Array.from({ length: 30 }, (_, index) => `/${index}`)
  wire.socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`).join(''))
  await settled(30)
  await wire.until(/<\/29>/)
  assert.deepEqual(
    Array.from(wire.text().matchAll(/<(.*?)>/g), ([, path]) => path),
    paths,
  )
  assert.deepEqual(warnings, [])
})

test('an early answer reaches a caller that is still sending, and its connection goes on', async (t) => {
  const upstream = await startWatched(t, (request, response) => {
    if (request.method === 'GET') {
      response.end('next')
      return
    }
    response.writeHead(413, { 'content-length': 5 }).end('large')
  })
  const { port, outcomes, settled } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(POST + chunk('x'.repeat(100_000)))
  await wire.until(/^HTTP\/1\.1 413 [^]*large/)
  await settled(1)
  // The body goes on, and looks like a request where nobody counts its bytes.
  wire.socket.write(chunk('GET /admin HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20_000)))
  wire.socket.write(`0\r\n\r\n${GET}`)
  await wire.until(/large[^]*HTTP\/1\.1 200 [^]*next/)
  assert.equal(wire.text().match(/HTTP\/1\.1 /g)?.length, 2)
  assert.deepEqual(outcomes.slice(0, 1), ['answered'])
})

test('a caller that never stops sending after its answer is cut off', async (t) => {
  const upstream = await startWatched(t, (_, response) => response.writeHead(413).end())
  const { port, settled } = await startProxy(t, upstream.url)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const wire = await dial(t, port)
  wire.socket.write(POST + chunk('x'))
  await settled(1)
  await wire.until(/^HTTP\/1\.1 413 /)
  t.mock.timers.tick(4_999)
  assert.ok(!wire.socket.destroyed)
  t.mock.timers.tick(1)
  await wire.closed
})

test('an upstream that breaks within the upload gives a 502 to a caller that is still sending', async (t) => {
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.resetAndDestroy())
  })
  const { port, outcomes } = await startProxy(t, `http://127.0.0.1:${await listen(t, server)}`)
  const wire = await dial(t, port)
  wire.socket.write(POST + chunk('x'.repeat(1_000)))
  await wire.until(/^HTTP\/1\.1 502 [^]*upstream_unavailable/)
  wire.socket.write(`${chunk('y')}0\r\n\r\n${GET}`)
  await wire.until(/HTTP\/1\.1 502 [^]*HTTP\/1\.1 502 /)
  assert.deepEqual(outcomes, ['upstream_unavailable', 'upstream_unavailable'])
})

test('a refused token within the upload does not wait for the rest', async (t) => {
  const upstream = await startWatched(t, (_, response) => {
    response.writeHead(401, { 'www-authenticate': 'Bearer' }).end()
  })
  const { port, outcomes } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(POST + chunk('x'))
  await wire.until(/^HTTP\/1\.1 502 [^]*upstream_rejected_token/)
  assert.deepEqual(outcomes, ['token_rejected'])
})

test('every byte comes through as it was, in small bodies and in large', async (t) => {
  const upstream = await startWatched(t, (request, response) => {
    response.writeHead(200, { 'content-length': request.headers['content-length'] })
    request.pipe(response)
  })
  const { url } = await startProxy(t, upstream.url)
  for (const size of [1, 256, 4_096, 4_097, 300_000]) {
    const body = Buffer.from(Array.from({ length: size }, (_, index) => index % 256))
    const request = http.request(url, { method: 'PUT', headers: { 'content-length': size } })
    request.end(body)
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    const pieces = (await answer.toArray()) as Buffer[]
    assert.ok(Buffer.concat(pieces).equals(body), `${size} bytes`)
  }
})

test('bytes go both ways before either side has ended', async (t) => {
  const upstream = await startWatched(t, (request, response) => {
    response.writeHead(200)
    request.pipe(response)
  })
  const { port, outcomes, settled } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(POST + chunk('one'))
  await wire.until(/one/)
  wire.socket.write(chunk('two'))
  await wire.until(/two/)
  wire.socket.write('0\r\n\r\n')
  await wire.until(/0\r\n\r\n$/)
  await settled(1)
  assert.deepEqual(outcomes, ['answered'])
})

test('a malformed chunk never completes the request at the upstream', async (t) => {
  let ended = false
  const upstream = await startWatched(t, (request) => {
    request.resume().on('end', () => (ended = true))
  })
  const { port, settled } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(POST + chunk('one'))
  await upstream.asked
  wire.socket.write('zz\r\n')
  await upstream.gone
  await settled(1)
  assert.equal(ended, false)
})

test('one connection serves one request after the other', async (t) => {
  const upstream = await startWatched(t, (request, response) => {
    request.resume().on('end', () => response.end('ok'))
  })
  const { url, outcomes, settled } = await startProxy(t, upstream.url)
  const agent = new http.Agent({ keepAlive: true })
  t.after(() => agent.destroy())
  for (let count = 1; count <= 10; count++) {
    const method = count % 2 === 0 ? 'GET' : 'POST'
    const request = http.request(url, { agent, method }).end(method === 'POST' ? 'body' : '')
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    await once(answer.resume(), 'end')
    await settled(count)
  }
  assert.deepEqual(new Set(outcomes), new Set(['answered']))
  assert.equal(upstream.connections(), 1)
})

test('a slow reader holds the upstream back', async (t) => {
  let written = 0
  const total = 64 * 1_048_576
  const upstream = await startWatched(t, (_, response) => {
    pour(response, total, (bytes) => (written += bytes))
  })
  const { port } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  wire.socket.write(GET)
  await wire.until(/xxx/)
  wire.socket.pause()
  let before = -1
  // Until nothing moves any more.
  for (let round = 0; round < 100 && before !== written; round++) {
    before = written
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.ok(written < total / 2, `${written} bytes were taken`)
})

test('a slow upstream holds the caller back, and its late refusal lets it go on', async (t) => {
  const refuse = deferred()
  const upstream = await startWatched(t, (request, response) => {
    if (request.method === 'GET') response.end('next')
    else void refuse.promise.then(() => response.writeHead(413, { 'content-length': 0 }).end())
  })
  const { port } = await startProxy(t, upstream.url)
  const wire = await dial(t, port)
  const total = 64 * 1_048_576
  wire.socket.write(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${total}\r\n\r\n`)
  let sent = 0
  const piece = Buffer.alloc(65_536)
  const more = (): void => {
    while (sent < total) {
      sent += piece.length
      if (!wire.socket.write(piece)) return
    }
    wire.socket.write(GET)
  }
  wire.socket.on('drain', more)
  more()
  let before = -1
  for (let round = 0; round < 100 && before !== sent; round++) {
    before = sent
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.ok(sent < total / 2, `${sent} bytes were taken`)
  refuse.resolve()
  await wire.until(/HTTP\/1\.1 413 [^]*HTTP\/1\.1 200 [^]*next/)
})

test('memory does not grow with the size of a body, up or down', { timeout: 240_000 }, async () => {
  const child = spawn(
    process.execPath,
    [
      '--expose-gc',
      '--max-semi-space-size=2',
      fileURLToPath(new URL('memory.js', import.meta.url)),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  let text = ''
  child.stdout.on('data', (data: Buffer) => (text += data.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  assert.equal(code, 0, text)
  const { small, large } = JSON.parse(text) as { small: number; large: number }
  const growth = (large - small) / 1_048_576
  assert.ok(growth < 32, `${growth} MiB more for 128 MiB than for 32`)
})

function pour(
  response: http.ServerResponse,
  total: number,
  count: (bytes: number) => void = () => undefined,
): void {
  const piece = Buffer.alloc(65_536, 'x')
  let left = total
  const more = (): void => {
    while (left > 0 && !response.destroyed) {
      left -= piece.length
      count(piece.length)
      if (!response.write(piece)) return
    }
    if (left <= 0) response.end()
  }
  response.on('drain', more)
  more()
}
