import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { Permit } from '../../src/authorize/authorize.ts'
import { GatewayError } from '../../src/errors.ts'
import { cached, kept, type Kept } from '../../src/exchange/cache.ts'
import type { Ask, Exchange, ExchangeOutcome } from '../../src/exchange/exchange.ts'
import { joined } from '../../src/exchange/join.ts'
import { createPurges } from '../../src/exchange/purge.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { ask, issuedToken, permit } from '../support.ts'
import { byHand, call, holder, settled } from './by-hand.ts'

const NOW = 1_800_000_000_000
const SECOND = 1_000
const HOUR = 3_600 * SECOND

/** An issuer whose tokens live as long as said, unless it is down. */
function issuer(context: TestContext, lifeMs: number) {
  context.mock.timers.enable({ apis: ['Date'], now: NOW })
  const store = createMemoryStore<Kept>({ maxEntries: 100, maxBytes: 1_000_000 })
  const purges = createPurges()
  const sent: Ask[] = []
  const state = { down: false }
  const exchange: Exchange = async (_permit, own) => {
    sent.push(own)
    await Promise.resolve()
    if (state.down) throw new GatewayError('exchange_unavailable', 'down')
    return issuedToken({ value: `token ${sent.length}`, expiresAt: Date.now() + lifeMs })
  }
  const layers = cached(joined(kept(exchange, store, purges), purges), store, purges)
  async function request(one: Permit): Promise<readonly [ExchangeOutcome | undefined, string]> {
    const own = ask()
    const { value } = await layers(one, own)
    await settled()
    return [own.outcome, value]
  }
  return { request, sent, state, tick: (ms: number) => context.mock.timers.tick(ms) }
}

const user = (ownMs: number, exchange: object = {}): Permit =>
  permit({ subject: { expiresAt: NOW + ownMs }, route: { exchange } })

test('past 80 to 90 % of its life an entry is renewed, and served meanwhile', async (context) => {
  const { request, sent, tick } = issuer(context, 1_000 * SECOND)
  const one = user(24 * HOUR)
  await request(one)
  tick(970 * SECOND * 0.8 - 1)
  assert.deepEqual(await request(one), ['hit', 'token 1'])
  tick(97 * SECOND + 1)
  assert.deepEqual(await request(one), ['renewed', 'token 1'])
  assert.deepEqual(await request(one), ['hit', 'token 2'])
  assert.deepEqual(
    sent.map(({ background }) => background),
    [undefined, true],
  )
})

test('`maxAge` ends an entry too, and it is renewed', async (context) => {
  const { request, sent, tick } = issuer(context, 24 * HOUR)
  const one = user(24 * HOUR, { maxAgeMs: 100 * SECOND })
  await request(one)
  tick(85 * SECOND)
  await request(one)
  assert.equal(sent.length, 2)
})

test('a busy user costs one exchange a subject token: nothing is renewed on the shrinking rest', async (context) => {
  const { request, sent, tick } = issuer(context, 24 * HOUR)
  const one = user(HOUR)
  for (let at = 0; at < 3_569; at += 1) {
    await request(one)
    tick(SECOND)
  }
  assert.equal(sent.length, 1)
})

test('a renewal that would not last twice what is left is left alone', async (context) => {
  const { request, sent, tick } = issuer(context, 1_000 * SECOND)
  // Past 90 % there are 97 s left, and for the next one no more than 1 092 - 873 - 22 s.
  for (const [ownMs, renewed] of [
    [1_080 * SECOND, false],
    [1_100 * SECOND, true],
  ] as const) {
    sent.length = 0
    const one = permit({ subject: { digest: String(ownMs), expiresAt: Date.now() + ownMs } })
    await request(one)
    tick(873 * SECOND)
    await request(one)
    assert.equal(sent.length, renewed ? 2 : 1)
  }
})

test('with `key: context` the subject’s own life does not stop a renewal', async (context) => {
  const { request, sent, tick } = issuer(context, 1_000 * SECOND)
  const one = user(1_001 * SECOND, { key: 'context' })
  await request(one)
  tick(880 * SECOND)
  await request(one)
  assert.equal(sent.length, 2)
})

test('a renewal that failed is not tried again at once, and nobody notices', async (context) => {
  const { request, sent, state, tick } = issuer(context, 1_000 * SECOND)
  const one = user(24 * HOUR)
  await request(one)
  state.down = true
  tick(880 * SECOND)
  for (let at = 0; at < 89; at++) {
    const [outcome, value] = await request(one)
    assert.ok(outcome === 'hit' || outcome === 'renewed')
    assert.equal(value, 'token 1')
    tick(SECOND)
  }
  assert.ok(sent.length >= 3 && sent.length <= 10, `${sent.length} exchanges`)
})

test('an outage of ten minutes is not noticed by those whose entries live', async (context) => {
  const { request, sent, state, tick } = issuer(context, HOUR)
  const users = Array.from({ length: 100 }, (_, at) =>
    permit({ subject: { digest: `user ${at}`, expiresAt: NOW + 24 * HOUR } }),
  )
  for (const one of users) await request(one)
  tick(2_900 * SECOND)
  state.down = true
  for (let at = 0; at < 600; at += 20) {
    for (const one of users) assert.match((await request(one))[1], /^token \d+$/)
    tick(20 * SECOND)
  }
  assert.ok(sent.length < 1_000, `${sent.length} exchanges`)
  state.down = false
  const before = sent.length
  for (let at = 0; at < 68; at++) {
    for (const one of users) await request(one)
    tick(SECOND)
  }
  assert.equal(sent.length - before, 100)
})

test('who waits does not wait with a renewal that was not sent: its own begins in its place', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const renewal = join(holder('alice'), ask({ background: true }))
  const caller = call(join, holder('alice'))
  await settled()
  assert.equal(begun.length, 2)
  assert.equal(begun[0]!.ended, true)
  assert.ok(!begun[1]!.ask.background)
  begun[1]!.answer()
  assert.equal((await caller.answer).value, 'for alice')
  assert.equal((await renewal).value, 'for alice')
})

test('who waits joins a renewal that was sent', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  void join(holder('alice'), ask({ background: true }))
  begun[0]!.send()
  const caller = call(join, holder('alice'))
  await settled()
  assert.equal(begun.length, 1)
  begun[0]!.answer()
  assert.equal((await caller.answer).value, 'for alice')
})
