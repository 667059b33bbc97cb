import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createRedis } from '../../src/store/redis.ts'
import { createSeals } from '../../src/store/seal.ts'
import { createSharedReplayStore } from '../../src/store/shared-replay.ts'
import { createSharedTakingStore } from '../../src/store/shared-taking.ts'
import { createSharedTurns } from '../../src/store/turns.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import {
  allow,
  asUser,
  NO_REDIS,
  PASSWORD,
  type RedisServer,
  startCluster,
  startRedis,
  startSentinel,
  startTlsRedis,
  until,
} from '../redis.ts'
import {
  counted,
  type Gateways,
  gatewaysAt,
  order,
  purge,
  SEALING_KEY,
  sharing,
} from '../replicas.ts'
import type { Gateway } from '../system.ts'

const USER = { user: 'behalf', password: PASSWORD }

const two = (all: Gateways): Promise<[Gateway, Gateway]> =>
  Promise.all([all.replica(), all.replica()])

function isUp(gateway: Gateway): boolean {
  return gateway.metrics.render().includes('\nbehalf_redis_up 1\n')
}

/** Each of them exchanges for itself, and no request fails. Ends them. */
async function apart(all: Gateways, ...settings: readonly object[]): Promise<readonly Gateway[]> {
  const replicas = await Promise.all(settings.map((redis) => all.replica({ redis })))
  const token = await all.issuer.token({ sub: 'apart' })
  const before = all.issuer.exchanges.length
  for (const replica of replicas) assert.equal(await order(replica, token), 200)
  assert.equal(all.issuer.exchanges.length, before + replicas.length)
  assert.deepEqual(new Set(replicas.map(isUp)), new Set([false]))
  for (const replica of replicas) await replica.close()
  return replicas
}

test(
  'replicas share what is behind TLS, by their own authority and with a certificate to show',
  { skip: NO_REDIS || NO_OPENSSL },
  async (t) => {
    const authority = createAuthority()
    const redis = await startTlsRedis(t, authority)
    const { certificate, key } = authority.issue('behalf')
    await allow(redis)
    const tls = { authorities: authority.certificate, certificate, key }
    const all = await gatewaysAt(t, { url: redis.url, ...USER, tls })
    await sharing(all, ...(await two(all)))
    // Each differs in one thing from what works.
    const other = createAuthority('another')
    await apart(
      all,
      { tls: { ...tls, authorities: other.certificate } },
      { tls: { ...tls, ...other.issue('behalf') } },
      { tls: { authorities: authority.certificate } },
      { tls: { ...tls, serverName: 'redis.example' } },
    )
  },
)

test('a password that is wrong shares nothing, and is not told', { skip: NO_REDIS }, async (t) => {
  const redis = await startRedis(t)
  await allow(redis)
  await redis.command('ACL', 'SETUSER', 'default', 'resetpass', '>of the default user')
  const all = await gatewaysAt(t, { url: redis.url, ...USER })
  await sharing(all, ...(await two(all)))
  const wrong = { password: 'a wrong password' }
  for (const gateway of await apart(all, wrong, wrong)) {
    assert.match(gateway.logged(), /WRONGPASS/)
    assert.doesNotMatch(gateway.logged(), /a wrong password|a-password-of-the-tests/)
  }
  await redis.command('ACL', 'LOG', 'RESET')
})

test('replicas share by RESP 2, in a database of their own', { skip: NO_REDIS }, async (t) => {
  const redis = await startRedis(t)
  const all = await gatewaysAt(t, { url: `${await asUser(redis)}/3`, protocol: 2 })
  await sharing(all, ...(await two(all)))
  assert.match(String(await redis.command('INFO', 'keyspace')), /^db3:/m)
  assert.doesNotMatch(String(await redis.command('INFO', 'keyspace')), /^db0:/m)
})

test('replicas share by a socket', { skip: NO_REDIS }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'behalf-socket-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'redis.sock')
  await allow(await startRedis(t, '--unixsocket', path))
  const all = await gatewaysAt(t, { url: `unix:${path}`, ...USER, database: 1 })
  await sharing(all, ...(await two(all)))
})

test('replicas share a Cluster, and what they share is spread', { skip: NO_REDIS }, async (t) => {
  const { nodes, urls } = await startCluster(t)
  await Promise.all(nodes.map(allow))
  const all = await gatewaysAt(t, { cluster: [urls[1]], ...USER })
  const [one, other] = await two(all)
  const users = Array.from({ length: 24 }, (_, index) => `user ${index}`)
  const tokens = await Promise.all(users.map((sub) => all.issuer.token({ sub })))
  for (const token of tokens) assert.equal(await order(one, token), 200)
  for (const token of tokens) assert.equal(await order(other, token), 200)
  assert.equal(all.issuer.exchanges.length, tokens.length)
  assert.equal(counted(other, 'hit'), tokens.length)
  assert.deepEqual([isUp(one), isUp(other)], [true, true])
  // Replicas of a Cluster have what their masters have.
  const sizes = await Promise.all(nodes.map((node) => sizeOf(node)))
  assert.ok(sizes.slice(0, 3).reduce((sum, size) => sum + size) >= tokens.length, sizes.join())
  assert.ok(sizes.filter((size) => size > 0).length > 1, sizes.join())
  // A purge reaches all of them, and no other user.
  await purge(one, { subject: users[0]! })
  const third = await all.replica()
  await until('the purge is told', async () => {
    assert.equal(await order(await all.replica(), tokens[0]!), 200)
    return all.issuer.exchanges.length > tokens.length
  })
  const exchanges = all.issuer.exchanges.length
  assert.equal(await order(third, tokens[1]!), 200)
  assert.equal(all.issuer.exchanges.length, exchanges)
  // With a sealing key that is new entries of the old one are found, wherever they are.
  const fresh = Buffer.from('a sealing key of these tests. 32').toString('base64')
  const rotated = await all.replica({ redis: { sealingKeys: [fresh, SEALING_KEY] } })
  for (const token of tokens.slice(1)) assert.equal(await order(rotated, token), 200)
  assert.equal(all.issuer.exchanges.length, exchanges)
  await takesTheRest(t, nodes)
})

/** Proofs, families and turns, wherever their keys are. */
async function takesTheRest(t: TestContext, nodes: readonly RedisServer[]): Promise<void> {
  const addresses = nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  const redis = createRedis({
    ...{ servers: { kind: 'cluster', nodes: addresses }, ...USER, timeoutMs: 10_000 },
  })
  t.after(() => redis.close())
  await redis.started
  const proofs = createSharedReplayStore(redis, createSeals([Buffer.from(SEALING_KEY, 'base64')]))
  const families = createSharedTakingStore(redis)
  const turns = createSharedTurns(redis)
  const need = {
    ...{
      replica: 'one',
      rate: 10,
      burst: 1,
      line: { told: 0, coming: 1, background: 0 },
      callers: [],
    },
    ...{ replicas: 1, wasAlone: false, pauseMs: 0, seconds: 0 },
  }
  for (const key of ['one', 'two', 'three', 'four', 'five', 'six']) {
    const proof = [key, Date.now() + 60_000, 'a thumbprint'] as const
    assert.equal(await proofs.isFirst(...proof), true)
    assert.equal(await proofs.isFirst(...proof), false)
    const [name, value] = [`behalf:family:${key}`, Buffer.from('sealed')]
    assert.equal(await families.put({ name, value, ttlMs: 60_000, takenAt: 0 }), true)
    const marks = [`behalf:mark:${key}`, 'behalf:mark:all']
    assert.deepEqual((await families.take([name], marks))?.values, [value])
    assert.ok((await turns.ask(key, need)) !== undefined)
  }
}

async function sizeOf(node: RedisServer): Promise<number> {
  return Number(await node.command('DBSIZE'))
}

test(
  'a master of a Cluster that is killed fails no request, and its replica takes its place',
  { skip: NO_REDIS },
  async (t) => {
    const { nodes, urls } = await startCluster(t)
    await Promise.all(nodes.map(allow))
    const all = await gatewaysAt(t, { cluster: urls, ...USER })
    const [one, other] = await two(all)
    await sharing(all, one, other)
    await nodes[0]!.kill()
    await until('its replica is the master', async () =>
      String(await nodes[3]!.command('INFO', 'replication')).includes('role:master'),
    )
    await until('all is there again', async () => {
      // Meanwhile no request fails, wherever its key is.
      assert.equal(await order(one, await all.issuer.token({ sub: `${performance.now()}` })), 200)
      return isUp(one) && isUp(other)
    })
    const tokens = await Promise.all(
      Array.from({ length: 12 }, (_, index) => all.issuer.token({ sub: `later ${index}` })),
    )
    const before = all.issuer.exchanges.length
    for (const token of tokens) assert.equal(await order(one, token), 200)
    for (const token of tokens) assert.equal(await order(other, token), 200)
    assert.equal(all.issuer.exchanges.length, before + tokens.length)
  },
)

test(
  'a master of Sentinels that is killed fails no request, and replicas follow to the next',
  { skip: NO_REDIS },
  async (t) => {
    const { master, replica, sentinel, name } = await startSentinel(t)
    await Promise.all([master, replica].map(allow))
    const nodes = [`redis://127.0.0.1:${sentinel.port}`]
    const all = await gatewaysAt(t, { sentinel: { name, nodes }, ...USER })
    const [one, other] = await two(all)
    await sharing(all, one, other)
    const token = await all.issuer.token({ sub: 'before' })
    assert.equal(await order(one, token), 200)
    await until(
      'the replica has it',
      async () => (await sizeOf(replica)) === (await sizeOf(master)),
    )
    await master.kill()
    await sharing(all, one, other)
    assert.equal(String(await replica.command('INFO', 'replication')).includes('role:master'), true)
    const logged = one.logged()
    assert.ok(logged.indexOf('redis is gone') < logged.lastIndexOf('redis is there'))
    // What the old master had is there.
    const before = all.issuer.exchanges.length
    assert.equal(await order(other, token), 200)
    assert.equal(all.issuer.exchanges.length, before)
  },
)

test('Sentinels that know no such master share nothing', { skip: NO_REDIS }, async (t) => {
  const { sentinel, master } = await startSentinel(t)
  await allow(master)
  const nodes = [`redis://127.0.0.1:${sentinel.port}`]
  const all = await gatewaysAt(t, { sentinel: { name: 'others', nodes }, ...USER })
  await apart(all, {}, {})
})
