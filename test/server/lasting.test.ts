import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Config } from '../../src/config/config.ts'
import { readConfig } from '../../src/config/load.ts'
import { createLog } from '../../src/log.ts'
import { createLasting } from '../../src/server/lasting.ts'
import { serve } from '../../src/server/serve.ts'
import { createTenant } from '../../src/tenant/index.ts'
import { holder, ORIGIN } from '../authenticate/proofs.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { openWebSocket, startWebSockets, statusOf, TEXT } from '../proxy/websocket.ts'
import { NO_REDIS, startRedis } from '../redis.ts'
import { bearer, oneRoute, startGateway, startUpstream, type Reloadable } from '../system.ts'

test('what is made of the same is made once, and ends with the last who uses it', async () => {
  const lasting = createLasting()
  const ended: string[] = []
  const [first, second] = [lasting.lease(), lasting.lease()]
  const use = (lease: typeof first, kind: string, of: unknown): object =>
    lease.use(
      kind,
      of,
      () => ({ kind, of }),
      () => ended.push(`${kind} ${JSON.stringify(of)}`),
    )
  const one = use(first, 'a', { x: 1, y: [2] })
  assert.equal(use(first, 'a', { x: 1, y: [2] }), one)
  assert.equal(use(second, 'a', { y: [2], x: 1 }), one)
  assert.notEqual(use(second, 'a', { x: 1, y: [3] }), one)
  assert.notEqual(use(second, 'b', { x: 1, y: [2] }), one)
  await first.release()
  await first.release()
  assert.deepEqual(ended, [])
  await second.release()
  // The last first.
  assert.deepEqual(ended, ['b {"x":1,"y":[2]}', 'a {"x":1,"y":[3]}', 'a {"x":1,"y":[2]}'])
  assert.notEqual(use(lasting.lease(), 'a', { x: 1, y: [2] }), one)
})

test('what a lease owns ends with it, whoever else there is', async () => {
  const lasting = createLasting()
  const ended: string[] = []
  const [first, second] = [lasting.lease(), lasting.lease()]
  first.own(() => ended.push('first'))
  second.own(() => ended.push('second'))
  await first.release()
  assert.deepEqual(ended, ['first'])
})

interface World {
  readonly issuer: TestIssuer
  readonly upstream: Awaited<ReturnType<typeof startUpstream>>
  readonly gateway: Reloadable
  /** The configuration with another route, whose name is different each time. */
  another(): object
}

async function world(
  t: TestContext,
  setting: Partial<Parameters<typeof oneRoute>[0]> = {},
  more: object = {},
): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const configuration = {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin, ...setting }),
    ...more,
  } as { readonly routes: readonly object[] }
  let number = 0
  const another = (): object => {
    const name = `another-${++number}`
    const route = { ...configuration.routes[0], name, match: { path: `/${name}` } }
    return { ...configuration, routes: [...configuration.routes, route] }
  }
  return { issuer, upstream, another, gateway: await startGateway(t, configuration) }
}

async function ask({ origin }: Reloadable, headers: Record<string, string>): Promise<number> {
  const response = await fetch(`${origin}/orders`, { headers })
  await response.text()
  return response.status
}

const authorized = (token: string): Record<string, string> => ({ ...bearer(token).headers })

test('counters go on, and the key set is not asked for again', async (t) => {
  const { gateway, issuer, another } = await world(t)
  const token = await issuer.token()
  await ask(gateway, authorized(token))
  const asked = issuer.keySetRequests
  await gateway.reloadWith(another())
  await ask(gateway, authorized(token))
  assert.equal(issuer.keySetRequests, asked)
  const metrics = gateway.metrics.render()
  assert.match(metrics, /^behalf_requests_total\{route="orders",status="200"\} 2$/m)
  assert.match(metrics, /^behalf_reloads_total\{outcome="reloaded"\} 1$/m)
})

test('a gauge of an issuer goes with it', async (t) => {
  const { gateway, issuer, another } = await world(t)
  const line = /behalf_issuer_breakers_open\{issuer="tenant"\}/
  assert.match(gateway.metrics.render(), line)
  const configuration = another() as { readonly apis: { readonly storefront: object } }
  await gateway.reloadWith({
    ...configuration,
    issuers: { renamed: { issuer: issuer.url, profile: 'rfc8693' } },
    apis: { storefront: { ...configuration.apis.storefront, issuer: 'renamed' } },
  })
  const closed = (): boolean => !line.test(gateway.metrics.render())
  while (!closed()) await new Promise(setImmediate)
  assert.match(gateway.metrics.render(), /behalf_issuer_breakers_open\{issuer="renamed"\}/)
})

test('what was taken of a budget stays taken', async (t) => {
  const budget = { rate: 0.001, burst: 1 }
  const { gateway, issuer, another } = await world(t)
  const tenant = { issuers: { tenant: { issuer: issuer.url, profile: 'rfc8693', budget } } }
  await gateway.reloadWith({ ...another(), ...tenant })
  assert.equal(await ask(gateway, authorized(await issuer.token())), 200)
  await gateway.reloadWith({ ...another(), ...tenant })
  assert.equal(await ask(gateway, authorized(await issuer.token())), 503)
  assert.equal(issuer.exchanges.length, 1)
})

test('a proof that was used stays used, and a nonce stays good', async (t) => {
  const possession = { mechanism: 'dpop', nonce: 'required' }
  const api = { proofOfPossession: possession }
  const server = { listen: '127.0.0.1:0', publicOrigin: ORIGIN }
  const { gateway, issuer, another } = await world(t, { api }, { server })
  const alice = await holder()
  const token = await issuer.token({ cnf: { jkt: alice.jkt } })
  const show = async (proof: string): Promise<Response> =>
    fetch(`${gateway.origin}/orders`, { headers: { authorization: `DPoP ${token}`, dpop: proof } })
  const challenge = await show(await alice.proof(token))
  const nonce = challenge.headers.get('dpop-nonce')!
  const proof = await alice.proof(token, { claims: { nonce } })
  assert.equal((await show(proof)).status, 200)
  await gateway.reloadWith(another())
  assert.equal((await show(proof)).status, 401)
  assert.equal((await show(await alice.proof(token, { claims: { nonce } }))).status, 200)
})

test('a rate that was used up stays used up', async (t) => {
  const rates = [{ by: 'subject', rate: 0.001, burst: 1 }]
  const { gateway, issuer, another } = await world(t, { proxy: { limits: { rates } } })
  const token = await issuer.token()
  assert.equal(await ask(gateway, authorized(token)), 200)
  await gateway.reloadWith(another())
  assert.equal(await ask(gateway, authorized(token)), 429)
})

test('tokens that are bound to a key of the process stay good when the client’s secret changes', async (t) => {
  const tenant = await createTenant()
  t.after(() => tenant.close())
  const [first, second] = [
    'demo-only-storefront-client-secret-0001',
    'a-second-secret-of-the-client',
  ]
  const possession = { mechanism: 'dpop', required: true } as const
  tenant.state.resourceServers.get('https://orders.internal')!.proof_of_possession = possession
  const upstream = await startUpstream(t)
  const configured = (secret: string): object =>
    oneRoute({
      ...{ issuer: tenant.url, upstream: upstream.origin, profile: 'auth0' },
      client: { id: 'storefront-gateway', secret },
      exchange: { bound: 'dpop' },
    })
  const gateway = await startGateway(t, configured(first))
  const token = await tenant.token({ user: 'alice', audience: 'https://storefront.example' })
  assert.equal(await ask(gateway, authorized(token)), 200)
  assert.equal((await gateway.reloadWith(configured(second))).outcome, 'reloaded')
  assert.equal(await ask(gateway, authorized(token)), 200)
  assert.equal(tenant.exchanges(), 1)
})

test('a WebSocket lives on with the configuration that it opened with, and is told when all ends', async (t) => {
  const sockets = await startWebSockets(t)
  const issuer = await startIssuer(t)
  const setting = { issuer: issuer.url, upstream: sockets.origin, proxy: { websocket: {} } }
  const configuration = oneRoute(setting) as { readonly routes: readonly object[] }
  const gateway = await startGateway(t, configuration)
  const end = await openWebSocket(t, gateway.origin, { token: await issuer.token() })
  const elsewhere = oneRoute({ ...setting, upstream: 'http://127.0.0.1:9' })
  assert.equal((await gateway.reloadWith(elsewhere)).outcome, 'reloaded')
  await sockets.opened()
  end.send(TEXT, 'still there')
  assert.equal((await end.next()).payload.toString(), 'still there')
  assert.match(gateway.metrics.render(), /^behalf_websockets_open 1$/m)
  assert.match(gateway.metrics.render(), /^behalf_requests_in_flight 1$/m)
  assert.match(gateway.metrics.render(), /^behalf_configurations_retiring 1$/m)
  const drained = gateway.drain()
  assert.equal(statusOf(await end.next()), 1001)
  end.socket.end()
  await drained
})

test(
  'Redis stays connected where it is the same, and is left where it is configured no more',
  { skip: NO_REDIS },
  async (t) => {
    const redis = await startRedis(t)
    const sealingKeys = [Buffer.from('0123456789abcdefghijklmnopqrstuv').toString('base64')]
    const cache = { redis: { url: redis.url, sealingKeys } }
    const { gateway, issuer, another } = await world(t, {}, { cache })
    const clients = async (): Promise<readonly string[]> => {
      const list = String(await redis.command('CLIENT', 'LIST'))
      // The last one is who asks.
      return Array.from(list.matchAll(/^id=(\d+) .*cmd=(?!client)/gm), ([, id]) => id!)
    }
    await ask(gateway, authorized(await issuer.token()))
    const before = await clients()
    assert.notEqual(before.length, 0)
    await gateway.reloadWith(another())
    await ask(gateway, authorized(await issuer.token()))
    assert.deepEqual(await clients(), before)
    await gateway.reloadWith({ ...another(), cache: {} })
    while ((await clients()).length > 0) await new Promise(setImmediate)
    assert.doesNotMatch(gateway.metrics.render(), /behalf_redis_up 1/)
  },
)

test('fifty reloads leave nothing behind: no configuration, no connection, no timer', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const issuer = await startIssuer(t)
  const upstreams = [await startUpstream(t), await startUpstream(t)]
  const seen: WeakRef<Config>[] = []
  let time = 0
  const load = async (): Promise<Config> => {
    const { origin } = upstreams[time++ % 2]!
    const config = readConfig({
      ...oneRoute({ issuer: issuer.url, upstream: origin }),
      server: { listen: '127.0.0.1:0', drain: { delay: '0ms' } },
      admin: { listen: '127.0.0.1:0' },
    })
    seen.push(new WeakRef(config))
    return config
  }
  const serving = await serve(await load(), { log: createLog({ level: 'silent' }), load })
  t.after(() => serving.close())
  const token = await issuer.token()
  const socket = net.connect(Number(new URL(serving.origin).port), '127.0.0.1')
  t.after(() => socket.destroy())
  const request = `GET /orders HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`
  const cycle = async (): Promise<void> => {
    socket.write(request)
    await once(socket, 'data')
    assert.equal((await serving.reload()).outcome, 'reloaded')
  }
  for (let count = 0; count < 4; count++) await cycle()
  const before = resources()
  for (let count = 0; count < 50; count++) await cycle()
  // What ends in the background has ended when all but the last few are collected.
  const left = (): number => seen.filter((one) => one.deref() !== undefined).length
  for (let tries = 0; left() > 3 && tries < 500; tries++) {
    await new Promise(setImmediate)
    collect()
  }
  assert.ok(left() <= 3, `${left()} configurations are left`)
  const after = resources()
  for (const [name, count] of after) {
    assert.ok(
      count <= (before.get(name) ?? 0) + 2,
      `${count} ${name}, ${before.get(name) ?? 0} before`,
    )
  }
})

function resources(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const name of process.getActiveResourcesInfo()) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}
