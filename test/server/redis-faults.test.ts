import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type TestContext } from 'node:test'
import { startIssuer } from '../issuer.ts'
import { NO_REDIS } from '../redis.ts'
import { connectedWorld as world, counted, entries, order, type World } from '../replicas.ts'
import { type Gateway, oneRoute, startGateway, startUpstream } from '../system.ts'

/** As it is by default. */
const QUICK = { redis: { timeout: '20ms' } }

/** One request of each of so many users, one after the other: the longest took how long. */
async function orders(all: World, gateway: Gateway, users: readonly string[]): Promise<number> {
  let longest = 0
  for (const sub of users) {
    const token = await all.issuer.token({ sub })
    const startedAt = performance.now()
    assert.equal(await order(gateway, token), 200)
    longest = Math.max(longest, performance.now() - startedAt)
  }
  return longest
}

function named(prefix: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`)
}

/** Whether a token that one replica exchanges is found by another, at last. */
async function recovered(all: World, ...[one, other]: readonly Gateway[]): Promise<void> {
  for (let tries = 0; ; tries++) {
    const token = await all.issuer.token({ sub: `later${tries}` })
    const before = counted(other!, 'hit')
    assert.equal(await order(one!, token), 200)
    await sleep(50)
    assert.equal(await order(other!, token), 200)
    if (counted(other!, 'hit') > before) return
    assert.ok(tries < 100, 'it does not recover')
    await sleep(50)
  }
}

test(
  'a Redis that stops answering fails no request, and is left alone',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const [one, other] = [await all.replica(QUICK), await all.replica(QUICK)]
    await orders(all, one, named('before', 3))
    all.redis.pause()
    const longest = await orders(all, one, named('during', 30))
    assert.equal(all.issuer.exchanges.length, 33)
    assert.ok(longest < 10_000, `${longest} ms`)
    t.diagnostic(`the longest of 30 requests: ${longest.toFixed(0)} ms`)
    all.redis.resume()
    await recovered(all, one, other)
  },
)

test(
  'a Redis that is killed fails no request, and is used again when it is back',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    // As the default user: what was set up for the other one is gone with the server.
    const settings = { redis: { url: all.redis.url } }
    const [one, other] = [await all.replica(settings), await all.replica(settings)]
    const token = await all.issuer.token()
    assert.equal(await order(one, token), 200)
    await all.redis.kill()
    await orders(all, one, named('during', 10))
    // What is in memory is served as ever; another replica exchanges for itself.
    assert.equal(await order(one, token), 200)
    assert.equal(await order(other, token), 200)
    assert.equal(all.issuer.exchanges.length, 12)
    assert.match(one.logged(), /redis is gone/)
    await all.redis.start()
    await recovered(all, one, other)
    assert.match(one.logged().split('redis is gone').at(-1) ?? '', /redis is there/)
  },
)

for (const [what, ...command] of [
  ['that is full', 'CONFIG', 'SET', 'maxmemory', '1'],
  ['that is read only', 'REPLICAOF', '127.0.0.1', '1'],
] as const) {
  test(
    `a Redis ${what} fails no request, and what it has is used`,
    { skip: NO_REDIS },
    async (t) => {
      const all = await world(t)
      const token = await all.issuer.token()
      assert.equal(await order(await all.replica(), token), 200)
      await entries(all)
      await all.redis.command(...command)
      const other = await all.replica()
      assert.equal(await order(other, token), 200)
      assert.equal(all.issuer.exchanges.length, 1)
      await orders(all, other, named('during', 10))
      assert.equal(all.issuer.exchanges.length, 11)
      assert.equal(counted(other, 'unavailable'), 10)
    },
  )
}

test(
  'concurrent requests for one key make one exchange a replica while Redis is gone',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const replicas = [await all.replica(QUICK), await all.replica(QUICK)]
    await all.redis.kill()
    const token = await all.issuer.token()
    const statuses = await Promise.all(
      replicas.flatMap((one) => Array.from({ length: 20 }, () => order(one, token))),
    )
    assert.deepEqual(new Set(statuses), new Set([200]))
    assert.equal(all.issuer.exchanges.length, 2)
  },
)

test(
  'a claim that is held while Redis goes is waited for no longer',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const [one, other] = [await all.replica(), await all.replica()]
    const token = await all.issuer.token()
    let held = (): void => undefined
    const first = new Promise<void>((resolve) => (held = resolve))
    let release = (): void => undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    all.issuer.answer = async (form, response) => {
      held()
      all.issuer.answer = (again, answer) => all.issuer.issue(again, answer)
      await released
      await all.issuer.issue(form, response)
    }
    const slow = order(one, token)
    await first
    const waiting = order(other, token)
    await sleep(100)
    await all.redis.kill()
    // It does not wait for the one who held the claim, who is not answered before it is.
    assert.equal(await waiting, 200)
    release()
    assert.equal(await slow, 200)
    assert.equal(all.issuer.exchanges.length, 2)
  },
)

type Speak = (socket: net.Socket) => void
const GARBAGE: readonly (readonly [string, Speak])[] = [
  [
    'speaks HTTP',
    (socket) => socket.on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')),
  ],
  ['speaks noise', (socket) => socket.on('data', () => socket.write(randomBytes(256)))],
  ['says nothing', (socket) => socket.resume()],
  ['hangs up', (socket) => socket.destroy()],
  ['answers OK to everything', (socket) => socket.on('data', () => socket.write('+OK\r\n'))],
]
for (const [what, speak] of GARBAGE) {
  test(`a server in the place of Redis that ${what} fails no request`, async (t) => {
    const gateway = await besides(t, speak)
    const startedAt = performance.now()
    for (const sub of named('user', 10)) {
      assert.equal(await order(gateway, await gateway.token({ sub })), 200)
    }
    assert.ok(performance.now() - startedAt < 30_000)
    assert.equal(counted(gateway, 'unavailable'), 10)
  })
}

async function besides(t: TestContext, speak: Speak) {
  const server = net.createServer((socket) => speak(socket.on('error', () => undefined)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    cache: {
      redis: {
        url: `redis://127.0.0.1:${port}`,
        sealingKeys: [randomBytes(32).toString('base64')],
      },
    },
  })
  return Object.assign(gateway, { token: issuer.token })
}
