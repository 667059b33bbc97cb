/* What workers of one `behalf serve` have in common without Redis: each issuer's budget, and the proofs that were used. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { before, test, type TestContext } from 'node:test'
import { holder, ORIGIN, type Holder } from '../authenticate/proofs.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { type Line, type Served, startServe } from '../served.ts'
import { oneRoute, startUpstream, type Setting, type Upstream } from '../system.ts'
import { createTenant } from '../../src/tenant/index.ts'

const bounded = { timeout: 120_000 }
const LISTENING = { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '30s' } }
/** So few that the machine may be as slow as it likes: none comes while a test runs. */
const SCARCE = { rate: 0.001, burst: 4 }

let alice: Holder
before(async () => (alice = await holder()))

interface World {
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  readonly configuration: object
  readonly served: Served
  users(many: number): Promise<readonly string[]>
}

interface Given extends Partial<Setting> {
  readonly budget?: object
  readonly server?: object
  /** Beside what there is, of which the route is told. */
  readonly more?: (route: { readonly exchange: object }) => object
}

/** Two workers, which share no Redis. */
async function world(t: TestContext, { budget, server, more, ...setting }: Given): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t, (_received, response) => response.end('{}'))
  const given = oneRoute({ issuer: issuer.url, upstream: upstream.origin, ...setting })
  const [route] = (given as { readonly routes: readonly [{ readonly exchange: object }] }).routes
  const configuration = {
    ...given,
    issuers: { tenant: { issuer: issuer.url, profile: 'rfc8693', ...(budget && { budget }) } },
    server: { ...LISTENING, ...server },
    ...more?.(route),
  }
  const served = await startServe(t, configuration, ['--workers', '2'])
  return {
    ...{ issuer, upstream, configuration, served },
    users: (many) =>
      Promise.all(Array.from({ length: many }, (_, at) => issuer.token({ sub: `user${at}` }))),
  }
}

interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly retryAfter: number
  /** The process that answered: each has its own numbers. */
  readonly process: string
}

/** A connection that one worker has, for as long as it lives. */
interface ToWorker {
  readonly process: string
  ask(token: string, given?: Asking): Promise<Answer>
}

interface Asking {
  readonly path?: string
  readonly proof?: string
}

async function send(
  origin: string,
  agent: http.Agent | false,
  headers: http.OutgoingHttpHeaders,
  path = '/orders',
): Promise<Answer> {
  const request = http.get(`${origin}${path}`, { agent, headers })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  let text = ''
  for await (const piece of response.setEncoding('utf8')) text += piece as string
  const [process = ''] = String(response.headers['x-request-id']).split('-')
  const { code } = JSON.parse(text) as { readonly code?: string }
  const retryAfter = Number(response.headers['retry-after'] ?? 0)
  return { status: response.statusCode!, code, retryAfter, process }
}

/** Connections go to the workers in turn. */
async function connect(t: TestContext, { origin }: Served): Promise<ToWorker> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => agent.destroy())
  // What is asked without a token costs nothing.
  const { process } = await send(origin, agent, {})
  return {
    process,
    async ask(token, { path, proof } = {}) {
      const scheme = proof === undefined ? 'Bearer' : 'DPoP'
      const headers = { authorization: `${scheme} ${token}`, ...(proof && { dpop: proof }) }
      const answer = await send(origin, agent, headers, path)
      assert.equal(answer.process, process)
      return answer
    },
  }
}

async function toEachWorker(t: TestContext, served: Served): Promise<[ToWorker, ToWorker]> {
  const one = await connect(t, served)
  for (;;) {
    const other = await connect(t, served)
    if (other.process !== one.process) return [one, other]
  }
}

/** As soon as a worker that is late has told. */
async function becomes({ adminOrigin }: Served, name: string, value: number): Promise<void> {
  for (;;) {
    const lines = (await (await fetch(`${adminOrigin}/metrics`)).text()).split('\n')
    const values = lines.filter((line) => line.startsWith(name))
    assert.ok(values.length <= 1, 'once')
    if (values[0]?.endsWith(` ${value}`)) return
  }
}

const AVAILABLE = 'behalf_issuer_budget_available{issuer="tenant"} '
const IN_FLIGHT = 'behalf_requests_in_flight '
const isReady = ({ msg }: Line): boolean => msg === 'a worker is ready'
const hasEnded = ({ msg }: Line): boolean => msg === 'a worker has ended'

async function kill({ lines, until }: Served, worker: number): Promise<void> {
  const from = lines.length
  const ready = lines.findLast((line) => isReady(line) && line['worker'] === worker)
  process.kill(Number(ready?.['pid']), 'SIGKILL')
  await until(hasEnded, from)
  await until(isReady, from)
}

test(
  'workers spend one budget, wherever its callers are, and as one metric',
  bounded,
  async (t) => {
    const { issuer, served, configuration, users } = await world(t, { budget: SCARCE })
    const [one, other] = await toEachWorker(t, served)
    await becomes(served, AVAILABLE, 4)
    const tokens = await users(7)
    const answers = []
    // More than half of it at one of them.
    for (const token of tokens.slice(0, 3)) answers.push(await one.ask(token))
    await becomes(served, AVAILABLE, 1)

    // A bucket is as full as it was with another configuration.
    const [route] = (configuration as { routes: object[] }).routes
    const from = served.lines.length
    served.configure({ ...configuration, routes: [route, { ...route, ...ANOTHER }] })
    served.signal('SIGHUP')
    await served.until(({ outcome }) => outcome === 'reloaded', from)
    for (const token of tokens.slice(3, 5)) answers.push(await other.ask(token))
    answers.push(await one.ask(tokens[5]!))
    assert.deepEqual(
      answers.map(({ status, retryAfter }) => [status, retryAfter]),
      [...[1, 2, 3, 4].map(() => [200, 0]), ...[5, 6].map(() => [503, 60])],
    )
    assert.equal(issuer.exchanges.length, 4)
    await becomes(served, AVAILABLE, 0)

    // One that is started again begins with nothing of its own, and the other keeps what it has.
    await kill(served, 1)
    await kill(served, 2)
    const [fresh] = await toEachWorker(t, served)
    assert.deepEqual([(await fresh.ask(tokens[6]!)).status, issuer.exchanges.length], [503, 4])
  },
)

const HASTY = { name: 'hasty', match: { path: '/hasty' } }
const ANOTHER = { name: 'another', match: { path: '/another' } }

test(
  'a tenant that allows eight a second is not overrun by two workers, and its 429 stops both',
  bounded,
  async (t) => {
    const tenant = await createTenant({ limit: { rate: 8, burst: 8 } })
    t.after(() => tenant.close())
    const upstream = await startUpstream(t, (_received, response) => response.end('{}'))
    const client = { id: 'storefront-gateway', secret: 'demo-only-storefront-client-secret-0001' }
    const exchange = { timeout: '50s' }
    const served = await startServe(
      t,
      {
        ...oneRoute({ issuer: tenant.url, upstream: upstream.origin, client, exchange }),
        issuers: { tenant: { issuer: tenant.url, profile: 'auth0', budget: { rate: 8 } } },
        server: LISTENING,
      },
      ['--workers', '2'],
    )
    const audience = 'https://storefront.example'
    const tokens: string[] = []
    for (let at = 0; at < 18; at++) {
      const user = `user-${at}`
      tenant.addUser(user)
      tokens.push(await tenant.token({ user, audience, scope: 'read:orders' }))
    }
    const [throttled = '', later = '', ...crowd] = tokens
    const answers = await Promise.all(
      crowd.map((token) => send(served.origin, false, { authorization: `Bearer ${token}` })),
    )
    assert.equal(new Set(answers.map(({ process }) => process)).size, 2)
    assert.ok(answers.every(({ status }) => status === 200))
    assert.deepEqual(tenant.limited(), { allowed: 16, refused: 0 })

    tenant.fault({ kind: 'too_many_requests', retryAfterSeconds: 60, times: 1 })
    const [one, other] = await toEachWorker(t, served)
    assert.equal((await one.ask(throttled)).status, 503)
    assert.equal((await other.ask(later)).status, 503)
    assert.equal(tenant.exchanges(), 17)
  },
)

test('a worker that is killed gives up the places of those who wait there', bounded, async (t) => {
  // Ten seconds a turn, and who comes in a hurry is told how long the line is.
  const exchange = { timeout: '10m' }
  const { issuer, served, users } = await world(t, {
    ...{ budget: { rate: 0.1 }, exchange },
    more: (route) => ({
      routes: [route, { ...route, ...HASTY, exchange: { ...route.exchange, timeout: '1s' } }],
    }),
  })
  const [first = '', ...tokens] = await users(5)
  // Each knows the issuer's keys by now.
  const unscoped = await issuer.token({ scope: '' })
  const [asker, other] = await toEachWorker(t, served)
  assert.equal((await other.ask(unscoped)).status, 403)
  assert.equal((await asker.ask(first)).status, 200)
  // Four at each of them.
  for (const token of tokens) {
    const workers = await toEachWorker(t, served)
    for (const { ask } of workers) ask(token).catch(() => undefined)
  }
  await becomes(served, IN_FLIGHT, 8)
  let strangers = 0
  const told = async (): Promise<number> => {
    const token = await issuer.token({ sub: `stranger${strangers++}` })
    const { ask } = await connect(t, served)
    const { status, retryAfter } = await ask(token, { path: '/hasty' })
    assert.equal(status, 503)
    return retryAfter
  }
  // The longest that anybody is told, and nothing is promised for it: the ninth turn.
  while ((await told()) < 60);
  await kill(served, 1)
  const fifth = await told()
  assert.ok(fifth < 60, `told ${fifth} s`)
})

test(
  'who waits for a turn while the workers drain keeps its place, and is served',
  bounded,
  async (t) => {
    const { served, users } = await world(t, {
      ...{ budget: { rate: 0.3 }, exchange: { timeout: '30s' } },
    })
    const [one] = await toEachWorker(t, served)
    const [first = '', second = ''] = await users(2)
    assert.equal((await one.ask(first)).status, 200)
    const waiting = one.ask(second)
    await Promise.race([becomes(served, IN_FLIGHT, 1), waiting])
    served.signal('SIGTERM')
    await served.until(({ msg }) => msg === 'draining')
    assert.equal((await waiting).status, 200)
    assert.equal(await served.ended, 0)
  },
)

const taking = (more: object = {}): Given => ({
  api: { proofOfPossession: { mechanism: 'dpop', ...more } },
  server: { publicOrigin: ORIGIN },
})

test(
  'a proof that one worker took the other refuses, and so do those that come after it',
  bounded,
  async (t) => {
    const { issuer, served, upstream } = await world(t, taking())
    const [one, other] = await toEachWorker(t, served)
    const token = await issuer.token({ cnf: { jkt: alice.jkt } })
    const proof = await alice.proof(token)
    assert.equal((await one.ask(token, { proof })).status, 200)
    for (const worker of [other, one]) {
      const { status, code } = await worker.ask(token, { proof })
      assert.deepEqual([status, code], [401, 'invalid_dpop_proof'])
    }
    assert.equal((await other.ask(token, { proof: await alice.proof(token) })).status, 200)

    await kill(served, 1)
    await kill(served, 2)
    for (const worker of await toEachWorker(t, served)) {
      assert.equal((await worker.ask(token, { proof })).code, 'invalid_dpop_proof')
    }
    assert.equal(upstream.received.length, 2)
  },
)

test(
  'while the first process is stopped each worker has its own share, from nothing, and takes no proof',
  bounded,
  async (t) => {
    const { issuer, served } = await world(t, { ...taking({ required: false }), budget: SCARCE })
    const [one, other] = await toEachWorker(t, served)
    const bound = await issuer.token({ cnf: { jkt: alice.jkt } })
    const shown = async (): Promise<unknown> =>
      (await one.ask(bound, { proof: await alice.proof(bound) })).code
    assert.equal(await shown(), undefined)
    const plain = await issuer.token({ sub: 'plain' })
    process.kill(served.pid, 'SIGSTOP')
    try {
      for (const worker of [one, other]) {
        const refused = await worker.ask(plain)
        assert.deepEqual([refused.status, refused.code], [503, 'exchange_unavailable'])
      }
      assert.equal(await shown(), 'replay_store_unavailable')
      assert.equal(issuer.exchanges.length, 1)
    } finally {
      process.kill(served.pid, 'SIGCONT')
    }
    await served.until(
      ({ msg }) => msg === 'the first process is silent: this worker goes on by itself',
    )
    // Whoever needs it finds it.
    while ((await one.ask(plain)).status !== 200) await new Promise(setImmediate)
    await served.until(({ msg }) => msg === 'the first process answers again')
    assert.equal(await shown(), undefined)
  },
)

/** Where somebody listens who ends every connection. */
async function noRedis(t: TestContext): Promise<string> {
  const server = net.createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  return `redis://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test(
  'without the Redis that replicas share, workers still have one share, and know each other’s proofs',
  bounded,
  async (t) => {
    const url = await noRedis(t)
    const sealingKeys = [randomBytes(32).toString('base64')]
    const { issuer, served, users } = await world(t, {
      ...taking({ required: false, replay: 'local' }),
      server: { publicOrigin: ORIGIN, replicas: 2 },
      budget: { rate: 0.001, burst: 6 },
      more: () => ({ cache: { redis: { url, sealingKeys } } }),
    })
    const [one, other] = await toEachWorker(t, served)
    const bound = await issuer.token({ cnf: { jkt: alice.jkt } })
    const proof = await alice.proof(bound)
    assert.equal((await one.ask(bound, { proof })).status, 200)
    assert.equal((await other.ask(bound, { proof })).code, 'invalid_dpop_proof')
    const answers = []
    // Half of the budget is this replica's, and one of it is spent.
    for (const [at, token] of (await users(4)).entries()) {
      answers.push((await (at < 2 ? one : other).ask(token)).status)
    }
    assert.deepEqual(answers, [200, 200, 503, 503])
  },
)
