/* Callers' refresh tokens at several replicas, against a tenant that revokes a family at once when a spent one comes again. */
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import { createSeals } from '../../src/store/seal.ts'
import {
  type Answered,
  call,
  purge,
  rotatingTenant,
  type RotatingTenant,
  type Session,
} from '../exchange/rotating.ts'
import { asUser, NO_REDIS, type RedisServer, startRedis, until } from '../redis.ts'
import { connected, raw, SEALING_KEY } from '../replicas.ts'
import { type Gateway, startGateway, startUpstream, type Upstream } from '../system.ts'

interface Replicas extends RotatingTenant {
  readonly redis: RedisServer
  readonly upstream: Upstream
  replica(changes?: { readonly url?: string; readonly exchange?: object }): Promise<Gateway>
}

async function replicas(t: TestContext): Promise<Replicas> {
  const redis = await startRedis(t)
  const user = await asUser(redis)
  const rotating = await rotatingTenant(t)
  const upstream = await startUpstream(t)
  return {
    ...{ ...rotating, redis, upstream },
    replica: ({ url = user, exchange } = {}) =>
      connected(
        startGateway(t, {
          ...rotating.configuration(upstream.origin, exchange),
          cache: { redis: { url, sealingKeys: [SEALING_KEY], timeout: '10s' } },
        }),
      ),
  }
}

const ask = (gateway: Gateway, path: string, session: Session): Promise<Answered> =>
  call({ gateway }, path, session)

function held(session: Session, refreshToken: string | null): Session {
  assert.ok(refreshToken !== null)
  return { ...session, refreshToken }
}

function counted({ metrics }: Gateway, outcome: string): number {
  const line = `behalf_refresh_lines_total{outcome="${outcome}"} `
  const found = metrics.render().split('\n')
  return Number(found.find((one) => one.startsWith(line))?.slice(line.length) ?? 0)
}

/** Where Redis has what became of a token. */
function nameOf({ tenant, client }: Replicas, refreshToken: string): string {
  const id = hash('sha256', JSON.stringify([tenant.url, client.id, refreshToken]), 'base64url')
  return createSeals([Buffer.from(SEALING_KEY, 'base64')]).names(`line ${id}`)[0]!
}

/** What a replica sends last is there a little later. */
async function there({ redis }: Replicas, name: string): Promise<void> {
  while ((await redis.command('EXISTS', name)) !== 1);
}

/** Nothing of the family was revoked: what the caller holds now is good. */
async function assertAlive(all: Replicas, refreshToken: string | null): Promise<void> {
  const { status } = await fetch(`${all.tenant.url}oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      ...{ grant_type: 'refresh_token', client_id: all.client.id },
      client_secret: all.client.secret,
      refresh_token: refreshToken ?? '',
    }),
  })
  assert.equal(status, 200)
}

test(
  'twenty callers with one refresh token at four replicas: one refresh, and all are told what replaced it',
  { skip: NO_REDIS },
  async (t) => {
    const all = await replicas(t)
    const alice = await all.login()
    const gateways = await Promise.all(Array.from({ length: 4 }, () => all.replica()))
    all.tenant.fault({ kind: 'slow', delayMs: 100, grantType: 'refresh_token', times: 1 })

    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => ask(gateways[index % 4]!, '/orders', alice)),
    )

    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
    assert.equal(all.refreshes(), 1)
    const [successor, ...others] = new Set(answers.map((one) => one.successor))
    assert.deepEqual(others, [])
    assert.notEqual(successor, alice.refreshToken)
    await assertAlive(all, successor ?? null)
  },
)

test(
  'callers on two routes at four replicas with one refresh token: two refreshes, and the family lives',
  { skip: NO_REDIS },
  async (t) => {
    const all = await replicas(t)
    const alice = await all.login()
    const gateways = await Promise.all(Array.from({ length: 4 }, () => all.replica()))
    all.tenant.fault({ kind: 'slow', delayMs: 100, grantType: 'refresh_token', times: 2 })

    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, index) =>
        // Each route at two replicas of its own: none of them sees what the others redeem.
        index < 8
          ? ask(gateways[index % 2]!, '/orders', alice)
          : ask(gateways[2 + (index % 2)]!, '/inventory', alice),
      ),
    )

    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
    assert.equal(all.refreshes(), 2)
    const { status, successor } = await ask(await all.replica(), '/orders', alice)
    assert.equal(status, 200)
    assert.equal(all.refreshes(), 2)
    await assertAlive(all, successor)
  },
)

test(
  'a caller that holds on to its first token at replicas in turn is told the newest, and loses nothing',
  { skip: NO_REDIS },
  async (t) => {
    const all = await replicas(t)
    const alice = await all.login()
    const [one, other] = [await all.replica(), await all.replica()]

    const first = await ask(one, '/orders', alice)
    const second = await ask(other, '/inventory', alice)
    const third = await ask(other, '/orders', alice)
    // This one knows of the first step only, until it has to redeem.
    const fourth = await ask(one, '/inventory', alice)
    const last = await ask(await all.replica(), '/orders', held(alice, first.successor))

    assert.deepEqual(
      [first, second, third, fourth, last].map(({ status }) => status),
      [200, 200, 200, 200, 200],
    )
    assert.equal(all.refreshes(), 2)
    assert.notEqual(second.successor, first.successor)
    assert.equal(third.successor, second.successor)
    assert.equal(last.successor, second.successor)
    await assertAlive(all, second.successor)
  },
)

test(
  'the newest token brings at another replica what the first one brought',
  { skip: NO_REDIS },
  async (t) => {
    const all = await replicas(t)
    const alice = await all.login()
    const { successor } = await ask(await all.replica(), '/orders', alice)
    await there(all, nameOf(all, successor!))

    const other = await all.replica()
    const { status, successor: next } = await ask(other, '/orders', held(alice, successor))

    assert.equal(status, 200)
    assert.equal(next, null)
    assert.equal(all.refreshes(), 1)
    // Who knows the newest presents no other any more, but for requests that cross it.
    const first = nameOf(all, alice.refreshToken)
    await until(
      'the first one is known for half a minute',
      async () => ((await all.redis.command('PTTL', first)) as number) <= 30_000,
    )
    assert.ok(((await all.redis.command('PTTL', nameOf(all, successor!))) as number) > 30_000)
    // Who is known is not looked up again: not for a hit.
    const lookedUp = counted(other, 'found')
    await ask(other, '/orders', held(alice, successor))
    assert.equal(counted(other, 'found'), lookedUp)
  },
)

test(
  'another user’s refresh token brings nothing at any replica, and its owner loses nothing',
  { skip: NO_REDIS },
  async (t) => {
    const all = await replicas(t)
    const [alice, carol] = [await all.login(), await all.login('carol')]
    const [one, other] = [await all.replica(), await all.replica()]
    const stolen = { accessToken: carol.accessToken, refreshToken: alice.refreshToken }

    // Nobody knows whose it is until somebody redeemed it.
    const before = await ask(one, '/orders', stolen)
    // Whoever asks where nobody judged it is not told, either.
    all.tenant.fault({ kind: 'server_error', grantType: 'refresh_token', times: 1 })
    const failed = await ask(await all.replica(), '/orders', stolen)
    assert.deepEqual([failed.status, failed.successor], [503, null])
    const between = await ask(other, '/orders', stolen)
    const owner = await ask(other, '/orders', alice)
    const after = await ask(await all.replica(), '/inventory', stolen)

    for (const refused of [before, between, after]) {
      assert.deepEqual([refused.status, refused.code], [403, 'not_permitted'])
      assert.equal(refused.successor, null)
    }
    assert.equal(owner.status, 200)
    await assertAlive(all, owner.successor)
  },
)

test(
  'a replica that dies with a token in hand delays the others until its claim lapses',
  { skip: NO_REDIS },
  async (t) => {
    const all = await replicas(t)
    const alice = await all.login()
    const claim = nameOf(all, alice.refreshToken).replace('entry', 'claim')
    await all.redis.command('SET', claim, 'of the dead', 'PX', '600')
    const gateway = await all.replica()
    const answer = ask(gateway, '/orders', alice)
    const gone = (async () => {
      while ((await all.redis.command('GET', claim)) === 'of the dead') {
        assert.equal(all.refreshes(), 0)
      }
    })()
    await gone
    assert.equal((await answer).status, 200)
    assert.equal(all.refreshes(), 1)
  },
)

test(
  'what became of a token while Redis was gone is known to the others when it is back',
  { skip: NO_REDIS },
  async (t) => {
    const all = await replicas(t)
    const { url } = all.redis
    const [one, other] = [await all.replica({ url }), await all.replica({ url })]
    const alice = await all.login()
    await all.redis.kill()
    const first = await ask(one, '/orders', alice)
    assert.equal(first.status, 200)

    await all.redis.start()
    await there(all, nameOf(all, alice.refreshToken))
    while (!other.logged().split('redis is gone').at(-1)?.includes('redis is there')) {
      await new Promise(setImmediate)
    }
    const second = await ask(other, '/inventory', alice)
    assert.equal(second.status, 200)
    assert.equal(all.refreshes(), 2)
    await assertAlive(all, second.successor)
  },
)

test('a purge makes every replica forget what a token became', { skip: NO_REDIS }, async (t) => {
  const all = await replicas(t)
  const alice = await all.login()
  const one = await all.replica()
  const { successor } = await ask(one, '/orders', alice)
  await there(all, nameOf(all, successor!))
  await purge({ gateway: one }, 'auth0|alice')
  while (((await all.redis.command('KEYS', 'behalf:mark:*')) as string[]).length === 0);
  const other = await all.replica()
  const answer = await ask(other, '/orders', held(alice, successor))
  assert.equal(answer.status, 200)
  assert.ok(counted(other, 'purged') > 0)
  assert.equal(all.refreshes(), 2)
})

test(
  'what is known of one token tells nothing of another, and what is changed is refused and counted',
  { skip: NO_REDIS },
  async (t) => {
    const all = await replicas(t)
    const [alice, carol] = [await all.login(), await all.login('carol')]
    const one = await all.replica()
    assert.equal((await ask(one, '/orders', carol)).status, 200)
    const record = nameOf(all, carol.refreshToken)
    await there(all, record)
    const value = await raw(all.redis, record)
    for (const [spoilt, outcome] of [
      [value, 'unreadable'],
      [value.subarray(0, -1), 'unreadable'],
      [Buffer.alloc(70_000, 1), 'oversized'],
    ] as const) {
      await all.redis.command('SET', nameOf(all, alice.refreshToken), spoilt, 'PX', '60000')
      const other = await all.replica()
      const refused = await ask(other, '/orders', { ...alice, refreshToken: carol.refreshToken })
      assert.deepEqual([refused.status, refused.successor], [403, null])
      assert.equal(counted(other, 'unreadable') + counted(other, 'oversized'), 0)
      await ask(other, '/orders', alice)
      assert.ok(counted(other, outcome) > 0, outcome)
    }
    // Not one of them led anywhere: Alice's own token was redeemed, once.
    assert.equal(all.refreshes(), 2)
  },
)

test('Redis learns no refresh token that callers bring', { skip: NO_REDIS }, async (t) => {
  const all = await replicas(t)
  const alice = await all.login()
  const gateway = await all.replica()
  const { successor } = await ask(gateway, '/orders', alice)
  await there(all, nameOf(all, successor!))
  const names = (await all.redis.command('KEYS', 'behalf:entry:*')) as string[]
  const values = await Promise.all(names.map((name) => raw(all.redis, name)))
  const dump = names.join() + values.map((value) => value.toString('latin1')).join()
  for (const token of [alice.refreshToken, successor!]) {
    assert.equal(dump.includes(token), false)
    assert.equal(gateway.logged().includes(token), false)
  }
  // With the sealing key and without the token nothing opens.
  const record = nameOf(all, alice.refreshToken)
  const seals = createSeals([Buffer.from(SEALING_KEY, 'base64')])
  const value = await raw(all.redis, record)
  assert.equal(seals.open(record, value, ''), undefined)
  assert.equal(seals.open(record, value, alice.refreshToken)?.includes(successor!), true)
})
