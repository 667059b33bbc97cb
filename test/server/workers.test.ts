import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { before, test, type TestContext } from 'node:test'
import { createAuthority, NO_OPENSSL, type Authority, type Pair } from '../certificates.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { openWebSocket, startWebSockets, statusOf } from '../proxy/websocket.ts'
import { type Line, NotServed, type Served, startServe } from '../served.ts'
import { bearer, listen, oneRoute, startUpstream, type Upstream } from '../system.ts'

const ADMIN_TOKEN = 'an admin token of a length that will do'
const bounded = { timeout: 60_000 }

interface World {
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  readonly configuration: object
  readonly served: Served
  readonly token: string
}

/** Two workers, unless told otherwise. */
async function world(
  t: TestContext,
  given: object = {},
  argv = ['--workers', '2'],
): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const configuration = {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    admin: { listen: '127.0.0.1:0', token: ADMIN_TOKEN },
    server: { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '30s' } },
    ...given,
  }
  const served = await startServe(t, configuration, argv)
  return { issuer, upstream, configuration, served, token: await issuer.token() }
}

interface Answer {
  readonly status: number
  /** The process that answered: each has its own numbers. */
  readonly process: string
  readonly text: string
}

/** Each on a connection of its own, which go to the workers in turn. */
async function ask(origin: string, token: string, path = '/orders'): Promise<Answer> {
  const request = http.get(`${origin}${path}`, { agent: false, ...bearer(token) })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  let text = ''
  for await (const piece of response.setEncoding('utf8')) text += piece as string
  const [process = ''] = String(response.headers['x-request-id']).split('-')
  return { status: response.statusCode!, process, text }
}

async function admin(
  { adminOrigin }: Served,
  path: string,
  body?: object,
): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(`${adminOrigin}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: response.status, text: await response.text() }
}

/** `fetch` would name the host that it connects to. */
async function metricsBy({ adminOrigin }: Served, host: string): Promise<number> {
  const request = http.get(`${adminOrigin}/metrics`, { headers: { host }, agent: false })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  return response.statusCode!
}

async function counted(served: Served, series: string): Promise<number> {
  const lines = (await admin(served, '/metrics')).text.split('\n')
  return Number(lines.find((line) => line.startsWith(`${series} `))?.slice(series.length + 1))
}

/** A request is counted when it has ended, which may be after its caller knows. */
async function becomes(served: Served, series: string, value: number): Promise<void> {
  while ((await counted(served, series)) !== value) await new Promise(setImmediate)
}

const isReady = ({ msg }: Line): boolean => msg === 'a worker is ready'
const pidsOf = ({ lines }: Served): readonly number[] =>
  lines.filter(isReady).map(({ pid }) => Number(pid))

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Events of others cannot be heard. */
async function gone(pids: readonly number[]): Promise<void> {
  while (pids.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 10))
}

test(
  'each worker takes its turn, one operator speaks to all, and one signal ends all well',
  bounded,
  async (t) => {
    const { issuer, upstream, served, token } = await world(t)
    const answers: Answer[] = []
    for (let request = 0; request < 4; request++) answers.push(await ask(served.origin, token))
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 200, 200],
    )
    assert.equal(new Set(answers.map((answer) => answer.process)).size, 2)
    // Without Redis each has its own cache.
    assert.equal(issuer.exchanges.length, 2)

    await becomes(served, 'behalf_requests_total{route="orders",status="200"}', 4)
    assert.equal(await counted(served, 'behalf_request_seconds_count{route="orders"}'), 4)
    assert.equal(await counted(served, 'behalf_cache_entries'), 2)
    assert.equal(await counted(served, 'behalf_workers_ready'), 2)
    assert.equal(await counted(served, 'behalf_worker_restarts_total'), 0)
    assert.doesNotMatch((await admin(served, '/metrics')).text, /worker="/)
    assert.equal(await metricsBy(served, 'rebound.example'), 403)
    assert.equal(await metricsBy(served, 'localhost:8081'), 200)
    assert.match((await admin(served, '/readyz?verbose')).text, /ready\n$/)

    assert.equal((await admin(served, '/purge', { subject: 'user|alice' })).status, 204)
    for (let request = 0; request < 4; request++) await ask(served.origin, token)
    assert.equal(issuer.exchanges.length, 4)
    const explained = await admin(served, '/explain', { method: 'GET', target: '/orders', token })
    assert.match(explained.text, /"orders"/)
    assert.equal(upstream.received.length, 8)

    served.signal('SIGTERM')
    assert.equal(await served.ended, 0)
    await gone(pidsOf(served))
    const requests = served.lines.filter(({ msg }) => msg === 'request')
    assert.equal(requests.length, 8)
    // The same token has the same digits, whoever writes the line, and whoever explains.
    const [digits, ...others] = new Set(requests.map((line) => line['token']))
    assert.deepEqual(others, [])
    assert.ok(explained.text.includes(String(digits)))
    assert.equal(served.lines.filter(({ msg }) => msg === 'draining').length, 2)
  },
)

test(
  'a worker that is killed is started again, with the configuration in force, and what it counted stays',
  bounded,
  async (t) => {
    const { upstream, configuration, served, token } = await world(t)
    for (let request = 0; request < 4; request++) await ask(served.origin, token)
    const series = 'behalf_requests_total{route="orders",status="200"}'
    await becomes(served, series, 4)

    // What the file says by now is not what it was told to serve by.
    served.configure('nothing: that could be served')
    const from = served.lines.length
    const [pid] = pidsOf(served)
    process.kill(pid!, 'SIGKILL')
    const ended = await served.until(({ msg }) => msg === 'a worker has ended', from)
    assert.equal(ended['signal'], 'SIGKILL')
    assert.equal(ended['level'], 'error')
    assert.equal((await admin(served, '/readyz')).status, 200)
    assert.equal((await ask(served.origin, token)).status, 200)
    await served.until(isReady, from)
    assert.equal(await counted(served, 'behalf_worker_restarts_total'), 1)
    await becomes(served, series, 5)
    for (let request = 0; request < 2; request++) {
      assert.equal((await ask(served.origin, token)).status, 200)
    }
    assert.equal(upstream.received.length, 7)

    const refused = await admin(served, '/reload', {})
    assert.equal((JSON.parse(refused.text) as Line)['outcome'], 'refused')
    assert.match((await admin(served, '/readyz?verbose')).text, /the one before it is in force/)
    const moved = await startUpstream(t)
    const [route] = (configuration as { routes: { proxy: object }[] }).routes
    served.configure({
      ...configuration,
      routes: [{ ...route, proxy: { upstream: moved.origin } }],
    })
    const reloaded = await admin(served, '/reload', {})
    assert.equal((JSON.parse(reloaded.text) as Line)['outcome'], 'reloaded')
    for (let request = 0; request < 4; request++) await ask(served.origin, token)
    assert.equal(moved.received.length, 4)
    assert.equal(upstream.received.length, 7)
    assert.equal(await counted(served, 'behalf_reloads_total{outcome="reloaded"}'), 1)
  },
)

test(
  'requests in flight are finished when the process goes that the workers came from',
  bounded,
  async (t) => {
    const upstream = http.createServer()
    const issuer = await startIssuer(t)
    const served = await startServe(
      t,
      {
        ...oneRoute({ issuer: issuer.url, upstream: await listen(t, upstream) }),
        server: { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '30s' } },
      },
      ['--workers', '2'],
    )
    const answer = ask(served.origin, await issuer.token())
    const [, response] = (await once(upstream, 'request')) as [unknown, http.ServerResponse]
    served.signal('SIGKILL')
    await gone([served.pid])
    response.end('finished')
    assert.equal((await answer).text, 'finished')
    await gone(pidsOf(served))
  },
)

test(
  'a signal to all of the processes is one drain; another ends all at once, with 1',
  bounded,
  async (t) => {
    const { served } = await world(t, {
      server: { listen: '127.0.0.1:0', drain: { delay: '10m', timeout: '10m' } },
    })
    const pids = pidsOf(served)
    for (const pid of pids) process.kill(pid, 'SIGINT')
    served.signal('SIGINT')
    await served.until(({ msg }) => msg === 'draining')
    assert.equal((await admin(served, '/readyz')).status, 503)
    assert.ok(pids.every(isAlive))
    // An echo of the first is none.
    while (served.lines.every(({ msg }) => msg !== 'ending at once')) {
      served.signal('SIGTERM')
      await new Promise((resolve) => setTimeout(resolve, 50))
      if (!isAlive(served.pid)) break
    }
    assert.equal(await served.ended, 1)
    await gone(pids)
  },
)

test('a port that is taken ends it with 1, and leaves no worker behind', bounded, async (t) => {
  const taken = new URL(await listen(t, http.createServer())).host
  const configuration = oneRoute({ issuer: 'http://127.0.0.1:9/', upstream: 'http://127.0.0.1:9' })
  await assert.rejects(
    startServe(t, { ...configuration, server: { listen: taken } }, ['--workers', '2']),
    (error) => error instanceof NotServed && error.code === 1 && /EADDRINUSE/.test(error.message),
  )
})

let authority: Authority
let own: Pair
before(() => {
  if (NO_OPENSSL !== false) return
  authority = createAuthority()
  own = authority.issue('gateway')
})

test('workers speak TLS, HTTP/1.1 and HTTP/2', { ...bounded, skip: NO_OPENSSL }, async (t) => {
  const { served, token } = await world(t, {
    server: {
      listen: '127.0.0.1:0',
      drain: { delay: '0ms', timeout: '30s' },
      tls: { certificate: own.certificate, key: own.key },
    },
  })
  const ca = authority.certificate
  const request = https.get(`${served.origin}/orders`, { agent: false, ca, ...bearer(token) })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  assert.equal(response.statusCode, 200)
  const session = http2.connect(served.origin, { ca })
  t.after(() => session.destroy())
  const stream = session.request({ ':path': '/orders', authorization: `Bearer ${token}` })
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  assert.equal(headers[':status'], 200)
  stream.resume()
  await once(stream, 'close')
})

test('a WebSocket through a worker is told 1001 by a drain', bounded, async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startWebSockets(t)
  const setting = { issuer: issuer.url, upstream: upstream.origin, proxy: { websocket: {} } }
  const server = { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '30s' } }
  const served = await startServe(t, { ...oneRoute(setting), server }, ['--workers', '2'])
  const caller = await openWebSocket(t, served.origin, { token: await issuer.token() })
  caller.socket.on('end', () => caller.socket.end())
  served.signal('SIGTERM')
  assert.equal(statusOf(await caller.next()), 1001)
  assert.equal(await served.ended, 0)
})
