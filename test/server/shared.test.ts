import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { createDpopKey } from '../../src/exchange/dpop.ts'
import { NO_REDIS, until } from '../redis.ts'
import {
  connectedWorld as world,
  counted,
  entries,
  order,
  purge,
  raw,
  replaced,
  SEALING_KEY,
} from '../replicas.ts'
import { assertTokensContained } from '../system.ts'

const ascending = (one: number, other: number): number => one - other

test('what one replica exchanged no other has to', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const token = await all.issuer.token()
  assert.equal(await order(await all.replica(), token), 200)
  assert.equal((await entries(all)).length, 1)
  const second = await all.replica()
  assert.equal(await order(second, token), 200)
  assert.equal(await order(second, token), 200)
  assert.equal(all.issuer.exchanges.length, 1)
  // The second request of the second replica did not ask Redis.
  assert.equal(counted(second, 'hit'), 1)
  assert.match(second.logged(), /"cache":"shared"/)
  assert.equal(await order(second, await all.issuer.token({ sub: 'bob' })), 200)
  assert.equal(all.issuer.exchanges.length, 2)
  assertTokensContained(second, all.upstream, token)
})

test('replicas that miss one key at once make one exchange', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const replicas = await Promise.all([all.replica(), all.replica(), all.replica()])
  all.issuer.answer = async (form, response) => {
    const areIn = '\nbehalf_requests_in_flight 10\n'
    await until('all requests are under way', () =>
      replicas.every(({ metrics }) => metrics.render().includes(areIn)),
    )
    // From there to the claim it is a few turns of the loop, and an answer of Redis.
    await sleep(500)
    await all.issuer.issue(form, response)
  }
  const token = await all.issuer.token()
  const orders = replicas.flatMap((one) => Array.from({ length: 10 }, () => order(one, token)))
  assert.deepEqual(new Set(await Promise.all(orders)), new Set([200]))
  assert.equal(all.issuer.exchanges.length, 1)
  assert.deepEqual(replicas.map((one) => counted(one, 'miss')).sort(ascending), [0, 0, 1])
  assert.deepEqual(replicas.map((one) => counted(one, 'joined')).sort(ascending), [0, 1, 1])
})

test('a replica whose exchange fails leaves it to the next', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const replicas = await Promise.all([all.replica(), all.replica()])
  all.issuer.answer = async (_form, response) => {
    await sleep(100)
    all.issuer.answer = (form, other) => all.issuer.issue(form, other)
    response.writeHead(503).end()
  }
  const token = await all.issuer.token()
  const statuses = await Promise.all(replicas.map((one) => order(one, token)))
  assert.deepEqual(statuses.sort(ascending), [200, 503])
  assert.equal(all.issuer.exchanges.length, 2)
})

test('a claim whose holder died lapses', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const token = await all.issuer.token()
  assert.equal(await order(await all.replica(), token), 200)
  const [name = ''] = await entries(all)
  const claim = name.replace('entry', 'claim')
  await all.redis.command('DEL', name)
  await all.redis.command('SET', claim, 'of the dead', 'PX', '700')
  const startedAt = Date.now()
  assert.equal(await order(await all.replica(), token), 200)
  assert.ok(Date.now() - startedAt > 500)
  assert.equal(all.issuer.exchanges.length, 2)
})

test('a purge reaches what other replicas keep, in both levels', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const token = await all.issuer.token({ sub: 'alice' })
  const other = await all.issuer.token({ sub: 'bob' })
  const [first, second] = [await all.replica(), await all.replica()]
  for (const replica of [first, second]) {
    for (const one of [token, other]) assert.equal(await order(replica, one), 200)
    await entries(all, 2)
  }
  assert.equal(all.issuer.exchanges.length, 2)
  await purge(first, { subject: 'alice' })
  // A third that has nothing in memory finds it purged at once.
  const third = await all.replica()
  assert.equal(await order(third, token), 200)
  assert.equal(counted(third, 'purged'), 1)
  assert.equal(all.issuer.exchanges.length, 3)
  // The second hears of it within a second, and finds what the third exchanged since.
  await sleep(1_500)
  const hits = counted(second, 'hit')
  assert.equal(await order(second, token), 200)
  assert.equal(counted(second, 'hit'), hits + 1)
  for (const replica of [first, second, third]) assert.equal(await order(replica, other), 200)
  assert.equal(all.issuer.exchanges.length, 3)
})

type Spoil = (value: Buffer, another: Buffer) => Buffer
const SPOILT: readonly (readonly [string, string, Spoil])[] = [
  ['of another user', 'unreadable', (_value, another) => another],
  ['truncated', 'unreadable', (value) => value.subarray(0, -1)],
  ['empty but for its version', 'unreadable', (value) => value.subarray(0, 1)],
  ['changed in a bit', 'unreadable', (value) => flipped(value, 40)],
  ['of another version', 'unreadable', (value) => flipped(value, 0)],
  ['of an unknown key', 'unreadable', (value) => flipped(value, 2)],
  ['oversized', 'oversized', () => Buffer.alloc(70_000, 1)],
]

function flipped(value: Buffer, index: number): Buffer {
  const copy = Buffer.from(value)
  copy[index]! ^= 1
  return copy
}

for (const [what, outcome, spoil] of SPOILT) {
  test(
    `a value that is ${what} is refused, counted and replaced`,
    { skip: NO_REDIS },
    async (t) => {
      const all = await world(t)
      const [alice, bob] = [await all.issuer.token(), await all.issuer.token({ sub: 'bob' })]
      const first = await all.replica()
      assert.equal(await order(first, alice), 200)
      const [name = ''] = await entries(all)
      assert.equal(await order(first, bob), 200)
      const another = (await entries(all, 2)).find((one) => one !== name) ?? ''
      const values = await Promise.all([name, another].map((one) => raw(all.redis, one)))
      await all.redis.command('SET', name, spoil(values[0]!, values[1]!), 'PX', '60000')
      const spoilt = await raw(all.redis, name)
      const second = await all.replica()
      assert.equal(await order(second, alice), 200)
      assert.equal(counted(second, outcome), 1)
      assert.equal(all.issuer.exchanges.length, 3)
      await replaced(all.redis, name, spoilt)
      assert.equal(await order(await all.replica(), alice), 200)
      assert.equal(all.issuer.exchanges.length, 3)
    },
  )
}

test(
  'with another sealing key nothing is found, and with both everything is',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const token = await all.issuer.token()
    const fresh = randomBytes(32).toString('base64')
    assert.equal(await order(await all.replica(), token), 200)
    await entries(all)
    const both = await all.replica({ redis: { sealingKeys: [fresh, SEALING_KEY] } })
    assert.equal(await order(both, token), 200)
    assert.equal(all.issuer.exchanges.length, 1)
    const other = await all.replica({ redis: { sealingKeys: [fresh] } })
    assert.equal(await order(other, token), 200)
    assert.equal(all.issuer.exchanges.length, 2)
  },
)

test('another exchange block is another epoch', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const token = await all.issuer.token()
  assert.equal(await order(await all.replica(), token), 200)
  await entries(all)
  assert.equal(await order(await all.replica({ exchange: { maxAge: '10m' } }), token), 200)
  assert.equal(all.issuer.exchanges.length, 2)
})

test(
  'what rests on the sealing key alone is shared where that is said',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const exchange = { key: 'context' }
    for (const _ of [1, 2]) {
      // The same context in another token.
      assert.equal(await order(await all.replica({ exchange }), await all.issuer.token()), 200)
    }
    assert.deepEqual(await entries(all, 0), [])
    assert.equal(all.issuer.exchanges.length, 2)
    for (const _ of [1, 2]) {
      const sharing = await all.replica({ exchange, redis: { shareContext: true } })
      assert.equal(await order(sharing, await all.issuer.token()), 200)
      await entries(all)
    }
    assert.equal(all.issuer.exchanges.length, 3)
  },
)

test('Redis learns no token, no user and no client', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const token = await all.issuer.token({ sub: 'alice of the tests' })
  const gateway = await all.replica()
  assert.equal(await order(gateway, token), 200)
  await entries(all)
  await purge(gateway, { subject: 'bob of the tests' })
  await until('the purge is told', async () => {
    return ((await all.redis.command('KEYS', 'behalf:mark:*')) as string[]).length > 0
  })
  let dump = ''
  for (const name of (await all.redis.command('KEYS', '*')) as string[]) {
    const type = await all.redis.command('TYPE', name)
    const read = { string: ['GET', name], zset: ['ZRANGE', name, '0', '-1'] }[String(type)]
    dump += name + JSON.stringify(await all.redis.command(...(read ?? ['PING'])))
  }
  const [received] = all.upstream.received
  const issued = received?.headers.authorization?.slice('Bearer '.length) ?? ''
  for (const secret of [token, issued, ...token.split('.'), ...issued.split('.')]) {
    assert.equal(dump.includes(secret), false)
  }
  assert.doesNotMatch(dump, /of the tests|storefront|orders|example/)
  assert.match(dump, /behalf:mark:/)
})

test(
  'a token that is bound to a key is shared with who has the key, and proven there',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const made = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const dpopKey = made.export({ type: 'pkcs8', format: 'pem' }) as string
    const { thumbprint } = createDpopKey(dpopKey)
    all.issuer.answer = async (form, response) => {
      const access_token = await all.issuer.sign({
        ...{ sub: 'alice', aud: form.get('audience') ?? '', scope: form.get('scope') ?? '' },
        cnf: { jkt: thumbprint },
      })
      await all.issuer.issue(form, response, { access_token, token_type: 'DPoP' })
    }
    const token = await all.issuer.token({ sub: 'alice' })
    const client = { id: 'storefront', secret: 'a-secret-of-the-storefront' }
    const bound = { exchange: { bound: 'dpop' } }
    const replica = { ...bound, client: { ...client, dpopKey } }
    assert.equal(await order(await all.replica(replica), token), 200)
    await entries(all)
    assert.equal(await order(await all.replica(replica), token), 200)
    assert.equal(all.issuer.exchanges.length, 1)
    const sent = all.upstream.received.map(({ headers }) => headers)
    assert.equal(sent[0]?.authorization, sent[1]?.authorization)
    assert.match(sent[1]?.authorization ?? '', /^DPoP /)
    const [header = '', payload = ''] = String(sent[1]?.['dpop']).split('.')
    assert.match(Buffer.from(header, 'base64url').toString(), /"typ":"dpop\+jwt"/)
    assert.match(Buffer.from(payload, 'base64url').toString(), /"ath":/)
    // A replica with a key of its own cannot use it, and does not find it.
    const other = await all.replica({ ...bound, client })
    assert.equal(await order(other, token), 502)
    assert.equal(all.issuer.exchanges.length, 2)
  },
)

test('an upstream that refuses what Redis has gets another one', { skip: NO_REDIS }, async (t) => {
  const all = await world(t)
  const token = await all.issuer.token()
  assert.equal(await order(await all.replica(), token), 200)
  const [name = ''] = await entries(all)
  const former = await raw(all.redis, name)
  const refused = all.upstream.received[0]?.headers.authorization
  all.upstream.answer = ({ headers }, response) => {
    if (headers.authorization !== refused) return response.end('{}')
    return response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
  }
  assert.equal(await order(await all.replica(), token), 200)
  assert.equal(all.issuer.exchanges.length, 2)
  await replaced(all.redis, name, former)
  // The third finds the new one at once.
  assert.equal(await order(await all.replica(), token), 200)
  assert.equal(all.issuer.exchanges.length, 2)
})
