import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { createApp, createServer } from '../../src/server/listener.ts'
import { startIssuer } from '../issuer.ts'
import { listen, oneRoute, startGateway, startUpstream, type Upstream } from '../system.ts'

interface Setting {
  readonly upstream: Upstream
  readonly token: string
  /** Sends a text, and gives what came when the pattern did, or the connection ended. */
  ask(text: string, until: RegExp): Promise<string>
}

async function start(t: TestContext): Promise<Setting> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(
    t,
    oneRoute({
      ...{ issuer: issuer.url, upstream: upstream.origin },
      proxy: { limits: { body: '1KiB' } },
    }),
  )
  const port = Number(new URL(gateway.origin).port)
  return { upstream, token: await issuer.token(), ask: (...given) => ask(t, port, ...given) }
}

async function ask(t: TestContext, port: number, text: string, until: RegExp): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  socket.on('error', () => undefined)
  socket.write(text)
  let answer = ''
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1')
      if (until.test(answer)) resolve()
    })
    socket.once('close', () => resolve())
  })
  return answer
}

const waiting = (token: string, bytes: number): string =>
  `POST /orders HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n` +
  `Expect: 100-continue\r\nContent-Length: ${bytes}\r\n\r\n`

test('who waits for 100 gets it once the token is good, and not before', async (t) => {
  const { upstream, token, ask } = await start(t)
  const whole = /\r\n\r\n/
  assert.match(await ask(waiting(token, 3), whole), /^HTTP\/1\.1 100 Continue\r\n\r\n$/)
  assert.match(await ask(waiting('nonsense', 3), whole), /^HTTP\/1\.1 401 /)
  assert.equal(upstream.received.length, 0)
})

test('nobody is told to send a body that is too large', async (t) => {
  const { token, ask } = await start(t)
  assert.match(await ask(waiting(token, 1_025), /\r\n\r\n/), /^HTTP\/1\.1 413 /)
  assert.match(await ask(waiting(token, 1_024), /\r\n\r\n/), /^HTTP\/1\.1 100 /)
})

for (const method of ['TRACE', 'CONNECT']) {
  test(`${method} goes nowhere, whatever token it brings`, async (t) => {
    const { upstream, token, ask } = await start(t)
    const request = (name: string): string =>
      `${name} ${name === 'CONNECT' ? 'h:443' : '/orders'} HTTP/1.1\r\nHost: h\r\n` +
      `Authorization: Bearer ${token}\r\nConnection: close\r\n\r\n`
    assert.match(await ask(request(method), /$^/), /^HTTP\/1\.1 405 /)
    assert.equal(upstream.received.length, 0)
    assert.match(await ask(request('OPTIONS'), /$^/), /^HTTP\/1\.1 200 /)
  })
}

for (const [requestTimeoutMs, ended] of [
  [500, true],
  [0, false],
] as const) {
  test(`a body that does not come is ${ended ? 'given up by the listener' : 'left to who reads it'}`, async (t) => {
    const app = createApp()
    app.use((request) => void request.resume())
    const { port } = new URL(await listen(t, createServer(app, { requestTimeoutMs })))
    const socket = net.connect(Number(port), '127.0.0.1')
    t.after(() => socket.destroy())
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.write('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12')
    // Node looks every two seconds.
    const closed = await Promise.race([
      once(socket, 'close').then(() => true),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 5_000)),
    ])
    assert.equal(closed, ended)
    assert.equal(text.startsWith('HTTP/1.1 408 '), ended)
  })
}
