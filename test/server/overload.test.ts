import assert from 'node:assert/strict'
import { once } from 'node:events'
import type http from 'node:http'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { GatewayError } from '../../src/errors.ts'
import { createMetrics } from '../../src/metrics.ts'
import { createAdmission, createCounts } from '../../src/server/admission.ts'
import { createApp, createServer, type ServerOptions } from '../../src/server/listener.ts'
import { watchLoopDelay } from '../../src/server/loop-delay.ts'
import { startIssuer } from '../issuer.ts'
import { route } from '../support.ts'
import { bearer, listen, oneRoute, startGateway, startUpstream } from '../system.ts'

const UNLIMITED = { connections: 10_000, pipelined: 64 }

interface Opened {
  readonly socket: net.Socket
  text(): string
  readonly closed: Promise<unknown>
}

async function open(t: TestContext, port: number): Promise<Opened> {
  const socket = net.connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  socket.on('error', () => undefined)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  await once(socket, 'connect')
  return { socket, text: () => text, closed }
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 5))
}

interface Held {
  readonly port: number
  readonly server: http.Server
  readonly responses: http.ServerResponse[]
  readonly shed: string[]
}

/** A server that answers when it is told to. */
async function hold(t: TestContext, limits: ServerOptions['limits']): Promise<Held> {
  const responses: http.ServerResponse[] = []
  const shed: string[] = []
  const app = createApp()
  app.use((_request, response) => void responses.push(response))
  const server = createServer(app, { limits: limits!, shed: (reason) => void shed.push(reason) })
  const { port } = new URL(await listen(t, server))
  return { port: Number(port), server, responses, shed }
}

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

test('a connection too many is told 503 before it has asked for anything, and one that ends makes room', async (t) => {
  const { port, responses, shed } = await hold(t, { ...UNLIMITED, connections: 2 })
  const first = await open(t, port)
  const second = await open(t, port)
  for (const { socket } of [first, second]) socket.write(GET)
  await until(() => responses.length === 2)

  const third = await open(t, port)
  await third.closed
  assert.match(
    third.text(),
    /^HTTP\/1\.1 503 [^]*retry-after: 1\r\n[^]*connection: close\r\n[^]*"code":"overloaded"/i,
  )
  assert.deepEqual(shed, ['connections'])

  first.socket.destroy()
  await until(() => responses[0]!.destroyed)
  const fourth = await open(t, port)
  fourth.socket.write(GET)
  await until(() => responses.length === 3)
  assert.equal(fourth.text(), '')
  assert.deepEqual(shed, ['connections'])
})

test('of a connection too many nothing is read', async (t) => {
  const { port, responses } = await hold(t, { ...UNLIMITED, connections: 1 })
  const first = await open(t, port)
  first.socket.write(GET)
  await until(() => responses.length === 1)
  const second = net.connect(port, '127.0.0.1')
  t.after(() => second.destroy())
  second.on('error', () => undefined).resume()
  second.write(GET)
  await once(second, 'close')
  assert.equal(responses.length, 1)
})

test('requests that wait behind another are counted: one too many is the last of its connection', async (t) => {
  const { port, responses, shed } = await hold(t, { ...UNLIMITED, pipelined: 2 })
  const wire = await open(t, port)
  wire.socket.write(GET.repeat(6))
  await until(() => shed.length === 1)
  assert.equal(responses.length, 3, 'one under way, and two that wait')
  for (const response of responses) response.end('ok')
  await wire.closed
  assert.deepEqual(wire.text().match(/HTTP\/1\.1 \d+/g), [
    ...['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 200'],
    'HTTP/1.1 503',
  ])
  assert.deepEqual(shed, ['pipelined'])
})

test('any number of requests may follow each other, as long as few wait', async (t) => {
  const { port, responses, shed } = await hold(t, { ...UNLIMITED, pipelined: 2 })
  const wire = await open(t, port)
  for (let round = 1; round <= 5; round++) {
    wire.socket.write(GET.repeat(3))
    await until(() => responses.length === 3 * round)
    for (const response of responses.slice(-3)) response.end('ok')
    await until(() => wire.text().match(/HTTP\/1\.1 200/g)?.length === 3 * round)
  }
  assert.deepEqual(shed, [])
})

test('who sends requests without an end, and waits for no answer, is cut off', async (t) => {
  const { port, responses } = await hold(t, { ...UNLIMITED, pipelined: 2 })
  const wire = await open(t, port)
  wire.socket.write(GET.repeat(20))
  await wire.closed
  assert.equal(responses.length, 3)
})

function admission(given: { isTooLate?: boolean; inFlight?: number } = {}) {
  const shed: string[] = []
  const metrics = createMetrics()
  const loopDelay = { isTooLate: given.isTooLate ?? false }
  const limits = { inFlight: given.inFlight ?? 10 }
  const admitted = createAdmission({
    ...{ limits, loopDelay },
    counts: createCounts(metrics),
    shed: (reason) => void shed.push(reason),
  })
  return { ...admitted, loopDelay, metrics, shed }
}

const OVERLOADED = (error: unknown): boolean =>
  error instanceof GatewayError && error.code === 'overloaded' && error.retryAfter === 1

function limited(inFlight: number | undefined, name = 'orders') {
  const { limits } = route().proxy
  return route({ name, proxy: { limits: { ...limits, inFlight } } })
}

test('a route takes as many requests at once as it says, and no other route pays for it', () => {
  const { enter, leave, shed, metrics } = admission()
  const orders = limited(2)
  const stock = limited(undefined, 'stock')
  enter(orders)
  enter(orders)
  assert.throws(() => enter(orders), OVERLOADED)
  enter(stock)
  leave(orders)
  enter(orders)
  assert.deepEqual(shed, ['route_in_flight'])
  assert.match(metrics.render(), /^behalf_requests_in_flight 3$/m)
})

test('all routes together take as many as the process does', () => {
  const { enter, leave, shed } = admission({ inFlight: 2 })
  enter(limited(undefined))
  enter(limited(2))
  assert.throws(() => enter(limited(undefined)), OVERLOADED)
  leave(limited(undefined))
  enter(limited(undefined))
  assert.deepEqual(shed, ['in_flight'])
})

test('while the process is too late nothing more is let in', () => {
  const { enter, loopDelay, shed } = admission({ isTooLate: true })
  assert.throws(() => enter(limited(undefined)), OVERLOADED)
  loopDelay.isTooLate = false
  enter(limited(undefined))
  assert.deepEqual(shed, ['loop_delay'])
})

test('the process is too late when the median was, twice in a row', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let median = 20
  const delays = {
    enable: () => true,
    disable: () => true,
    reset: () => undefined,
    percentile: () => median * 1e6,
  }
  const watched = watchLoopDelay(100, delays)
  t.after(() => watched.close())
  const after = (ms: number): boolean => {
    median = ms
    t.mock.timers.tick(250)
    return watched.isTooLate
  }
  assert.deepEqual([20, 200, 20, 121, 121, 121, 120, 121].map(after), [
    false,
    false,
    false,
    false,
    true,
    true,
    false,
    false,
  ])
  assert.equal(watched.ms, 101)
})

test('a process that is busy for long is seen to be late', async (t) => {
  const watched = watchLoopDelay(50)
  t.after(() => watched.close())
  while (!watched.isTooLate) {
    const until = Date.now() + 120
    while (Date.now() < until);
    await new Promise((resolve) => setImmediate(resolve))
  }
  while (watched.isTooLate) await new Promise((resolve) => setTimeout(resolve, 50))
})

test('a request too many is refused at once, before its token is looked at, and counted', async (t) => {
  const issuer = await startIssuer(t)
  const answers: http.ServerResponse[] = []
  const upstream = await startUpstream(t, (_received, response) => void answers.push(response))
  const gateway = await startGateway(
    t,
    oneRoute({
      ...{ issuer: issuer.url, upstream: upstream.origin },
      proxy: { limits: { inFlight: 1 } },
    }),
  )
  const token = await issuer.token()
  const first = fetch(`${gateway.origin}/orders`, bearer(token))
  await until(() => answers.length === 1)

  const second = await fetch(`${gateway.origin}/orders`, bearer('nonsense'))
  assert.equal(second.status, 503)
  assert.equal(second.headers.get('retry-after'), '1')
  assert.equal(((await second.json()) as { code: string }).code, 'overloaded')
  assert.equal((await fetch(`${gateway.adminOrigin}/readyz`)).status, 200)
  assert.match(gateway.metrics.render(), /^behalf_shed_total\{reason="route_in_flight"\} 1$/m)

  answers[0]!.end('ok')
  assert.equal((await first).status, 200)
  const third = fetch(`${gateway.origin}/orders`, bearer(token))
  await until(() => answers.length === 2)
  answers[1]!.end('ok')
  assert.equal((await third).status, 200)
  // What was refused, for whatever reason, holds no place.
  assert.equal((await fetch(`${gateway.origin}/orders`, bearer('nonsense'))).status, 401)
  assert.match(gateway.metrics.render(), /^behalf_requests_in_flight 0$/m)
})
