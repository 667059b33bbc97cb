import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_REDIS, startLine, startRedis, until } from '../redis.ts'
import {
  counted,
  entries,
  gatewaysAt,
  order,
  purge,
  raw,
  sharing,
  connectedWorld as world,
} from '../replicas.ts'

/** As it is by default. */
const QUICK = { redis: { timeout: '20ms' } }

test(
  'a network that swallows everything fails no request, and is found out and passed by',
  { skip: NO_REDIS },
  async (t) => {
    const line = await startLine(t, await startRedis(t))
    const all = await gatewaysAt(t, { url: line.url })
    const [one, other] = [await all.replica(QUICK), await all.replica(QUICK)]
    await sharing(all, one, other)
    line.cut()
    for (const sub of ['alice', 'bob', 'carol', 'dave']) {
      assert.equal(await order(one, await all.issuer.token({ sub })), 200)
    }
    assert.equal(counted(one, 'unavailable') >= 4, true)
    // The connection that was cut never comes back: another is made.
    line.mend()
    await sharing(all, one, other)
    assert.match(one.logged(), /redis is gone/)
  },
)

test(
  'answers that come late are gone without, and are of use again when they come in time',
  { skip: NO_REDIS },
  async (t) => {
    const line = await startLine(t, await startRedis(t))
    const all = await gatewaysAt(t, { url: line.url })
    const [one, other] = [await all.replica(QUICK), await all.replica(QUICK)]
    await sharing(all, one, other)
    line.delayMs = 2_000
    const token = await all.issuer.token({ sub: 'slow' })
    const before = all.issuer.exchanges.length
    assert.deepEqual(
      await Promise.all([one, other].map((replica) => order(replica, token))),
      [200, 200],
    )
    // Each replica for itself.
    assert.equal(all.issuer.exchanges.length, before + 2)
    line.delayMs = 0
    await sharing(all, one, other)
  },
)

test(
  'what is at its end is refused and counted, though Redis still has it',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    all.issuer.answer = (form, response) => all.issuer.issue(form, response, { expires_in: 60 })
    const token = await all.issuer.token()
    assert.equal(await order(await all.replica(), token), 200)
    const [name = ''] = await entries(all)
    await all.redis.command('PERSIST', name)
    const [early, late] = [await all.replica(), await all.replica()]
    assert.equal(await order(early, token), 200)
    assert.deepEqual([counted(early, 'hit'), counted(early, 'expired')], [1, 0])
    assert.equal(all.issuer.exchanges.length, 1)
    // The subject token lives longer.
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 61_000 })
    assert.equal(await order(late, token), 200)
    assert.deepEqual([counted(late, 'hit'), counted(late, 'expired')], [0, 1])
    assert.equal(all.issuer.exchanges.length, 2)
  },
)

test(
  'a value of another epoch is refused and counted where it does not belong',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const token = await all.issuer.token()
    assert.equal(await order(await all.replica(), token), 200)
    const [name = ''] = await entries(all)
    const other = { exchange: { maxAge: '10m' } }
    assert.equal(await order(await all.replica(other), token), 200)
    const moved = (await entries(all, 2)).find((one) => one !== name) ?? ''
    await all.redis.command('SET', name, await raw(all.redis, moved), 'PX', '60000')
    const [here, there] = [await all.replica(), await all.replica(other)]
    assert.equal(await order(there, token), 200)
    assert.deepEqual([counted(there, 'hit'), counted(there, 'unreadable')], [1, 0])
    assert.equal(await order(here, token), 200)
    assert.deepEqual([counted(here, 'hit'), counted(here, 'unreadable')], [0, 1])
    assert.equal(all.issuer.exchanges.length, 3)
  },
)

test(
  'a purge that Redis forgot is known to the replica that was asked, and to those that heard of it',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const [alice, bob] = [
      await all.issuer.token({ sub: 'alice' }),
      await all.issuer.token({ sub: 'bob' }),
    ]
    const [asked, heard] = [await all.replica(), await all.replica()]
    for (const replica of [asked, heard]) {
      for (const token of [alice, bob]) assert.equal(await order(replica, token), 200)
      await entries(all, 2)
    }
    assert.equal(all.issuer.exchanges.length, 2)
    await purge(asked, { subject: 'alice' })
    let marks: string[] = []
    await until('Redis was told', async () => {
      marks = (await all.redis.command('KEYS', 'behalf:mark:*')) as string[]
      return marks.length > 0
    })
    await all.redis.command('DEL', ...marks)
    // It has it from memory until it hears of the purge, and then finds the old entry without a mark.
    await until('the other one heard', async () => {
      assert.equal(await order(heard, alice), 200)
      return counted(heard, 'purged') > 0
    })
    assert.equal(all.issuer.exchanges.length, 3)
    // So does one that begins: Redis has the news, though not the mark.
    assert.equal(await order(asked, alice), 200)
    assert.equal(all.issuer.exchanges.length, 3)
    assert.equal(await order(asked, bob), 200)
    assert.equal(await order(await all.replica(), bob), 200)
    assert.equal(all.issuer.exchanges.length, 3)
  },
)

test(
  'the replica that was asked for a purge refuses what is from before it',
  { skip: NO_REDIS },
  async (t) => {
    const all = await world(t)
    const token = await all.issuer.token({ sub: 'alice' })
    const asked = await all.replica()
    assert.equal(await order(asked, token), 200)
    const [name = ''] = await entries(all)
    const before = await raw(all.redis, name)
    await purge(asked, { subject: 'alice' })
    await until('Redis was told', async () => {
      const marks = (await all.redis.command('KEYS', 'behalf:mark:*')) as string[]
      return marks.length > 0 && (await all.redis.command('DEL', ...marks)) === marks.length
    })
    await all.redis.command('SET', name, before, 'PX', '60000')
    assert.equal(await order(asked, token), 200)
    assert.equal(counted(asked, 'purged'), 1)
    assert.equal(all.issuer.exchanges.length, 2)
  },
)
