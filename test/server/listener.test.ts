import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { test } from 'node:test'
import { createApp, createServer } from '../../src/server/listener.ts'
import { listen } from '../system.ts'

test('requests and responses are born with the prototypes that Express gives them', async (t) => {
  const app = createApp()
  const changed: unknown[] = []
  const { setPrototypeOf } = Object
  app.use((request, response) => {
    assert.equal(Object.getPrototypeOf(request), app.request)
    assert.equal(Object.getPrototypeOf(response), app.response)
    response.send('ok')
  })
  const origin = await listen(t, createServer(app))
  Object.setPrototypeOf = (target: object, prototype: object | null) => {
    if (Object.getPrototypeOf(target) !== prototype) changed.push(target)
    return setPrototypeOf(target, prototype) as never
  }
  t.after(() => (Object.setPrototypeOf = setPrototypeOf))

  const response = await fetch(origin)

  assert.equal(await response.text(), 'ok')
  assert.equal(changed.length, 0, 'a prototype was changed during a request')
})

test('without the preset the same guard sees prototypes change', async (t) => {
  const app = createApp()
  app.use((request, response) => {
    response.send(String(Object.getPrototypeOf(request) === http.IncomingMessage.prototype))
  })
  const changed: unknown[] = []
  const { setPrototypeOf } = Object
  const origin = await listen(t, http.createServer(app))
  Object.setPrototypeOf = (target: object, prototype: object | null) => {
    if (Object.getPrototypeOf(target) !== prototype) changed.push(target)
    return setPrototypeOf(target, prototype) as never
  }
  t.after(() => (Object.setPrototypeOf = setPrototypeOf))
  await (await fetch(origin)).text()
  assert.ok(changed.length >= 2)
})

const malformed = [
  [
    'a header section past its limit',
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
    431,
  ],
  ['a line that is not HTTP', 'HELLO\r\n\r\n', 400],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
  ['another version of HTTP', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n', 400],
  ['a version before all others', 'GET / HTTP/0.9\r\nHost: a\r\n\r\n', 400],
  [
    'both framings',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    400,
  ],
] as const
for (const [what, bytes, status] of malformed) {
  test(`${what} is refused with ${status} before anyone sees it`, async (t) => {
    const app = createApp()
    let seen = 0
    app.use((_request, response) => {
      seen++
      response.send('ok')
    })
    const { port } = new URL(await listen(t, createServer(app)))
    assert.match(await exchange(Number(port), bytes), new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.equal(seen, 0)

    const good = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    assert.match(await exchange(Number(port), good), /^HTTP\/1\.1 200 /)
    assert.equal(seen, 1)
  })
}

test('100 Continue is not sent before the application has looked at the request', async (t) => {
  const app = createApp()
  app.use((_request, response) => {
    response.status(401).send('who are you?')
  })
  const { port } = new URL(await listen(t, createServer(app)))
  const head =
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n'
  assert.match(await exchange(Number(port), head), /^HTTP\/1\.1 401 /)
})

async function exchange(port: number, bytes: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')))
  socket.write(bytes)
  await once(socket, 'close')
  return answer
}

test('bytes that are not HTTP never get into an answer that has begun', async (t) => {
  const app = createApp()
  app.use((request, response) => {
    response.write('the first half')
    request.resume()
  })
  const { port } = new URL(await listen(t, createServer(app)))
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
  const socket = net.connect(Number(port), '127.0.0.1')
  let answer = ''
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1')
    if (answer.includes('the first half')) socket.write('not a chunk\r\n')
  })
  socket.on('error', () => undefined)
  socket.write(head)
  await once(socket, 'close')
  assert.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1)
  assert.equal(answer.includes('problem+json'), false)
})

test('bytes that are not HTTP after a request that waits for its answer are not answered in its place', async (t) => {
  const app = createApp()
  let seen = 0
  app.use(() => void seen++)
  const { port } = new URL(await listen(t, createServer(app)))
  assert.equal(
    await exchange(Number(port), 'GET / HTTP/1.1\r\nHost: a\r\n\r\nnot HTTP\r\n\r\n'),
    '',
  )
  assert.equal(seen, 1)
})

for (const [sent, answered] of [
  ['abcd', ''],
  ['abcde', '200'],
] as const) {
  test(`a caller that ends its side after ${sent.length} of 5 bytes is answered ${answered || 'nothing'}`, async (t) => {
    const app = createApp()
    app.use((request, response) => void request.resume().on('end', () => response.send('ok')))
    const { port } = new URL(await listen(t, createServer(app)))
    const socket = net.connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.end(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n${sent}`)
    await once(socket, 'end')
    assert.equal(/^HTTP\/1\.1 (\d+) /.exec(text)?.[1] ?? text, answered)
  })
}

test('CONNECT gets an answer, and no tunnel', async (t) => {
  const { port } = new URL(await listen(t, createServer(createApp())))
  const answer = await exchange(Number(port), 'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n')
  assert.match(answer, /^HTTP\/1\.1 405 /)
})

for (const [offer, answered] of [
  ['Connection: upgrade\r\nUpgrade: h2c\r\n', 'HTTP/1.1 200 OK'],
  ['', 'HTTP/1.1 200 OK HTTP/1.1 200 OK'],
] as const) {
  test(`after a request ${offer ? 'that offers another protocol' : 'like any other'} ${offer ? 'nothing' : 'the next one'} is read from its connection`, async (t) => {
    const app = createApp()
    app.use((_request, response) => void response.send('ok'))
    const origin = await listen(t, createServer(app))
    const socket = net.connect(Number(new URL(origin).port), '127.0.0.1')
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    // In one piece: of the rest Node would forget what it had, and take what comes later for a request of its own.
    const next = 'GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    socket.write(`GET /1 HTTP/1.1\r\nHost: a\r\n${offer}\r\n${next}`)
    await once(socket, 'close')
    assert.equal(text.match(/HTTP\/1\.1 \d+ \w+/g)?.join(' '), answered)
  })
}
