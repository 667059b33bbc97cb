import assert from 'node:assert/strict'
import test from 'node:test'
import { cached, kept, type Kept } from '../../src/exchange/cache.ts'
import { joined } from '../../src/exchange/join.ts'
import { createPurges } from '../../src/exchange/purge.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { ask, permit } from '../support.ts'
import { byHand, call, down, holder, LEFT, refused, settled } from './by-hand.ts'

test('500 concurrent callers of one key make one exchange', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const callers = Array.from({ length: 500 }, () => call(join, holder('alice')))
  await settled()
  assert.equal(begun.length, 1)
  begun[0]!.answer()
  const tokens = await Promise.all(callers.map(({ answer }) => answer))
  assert.equal(new Set(tokens).size, 1)
  assert.deepEqual(
    callers.map(({ ask }) => ask.outcome),
    ['miss', ...Array.from({ length: 499 }, () => 'joined')],
  )
})

test('50 users make 50 exchanges, and each gets the own token', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const callers = Array.from({ length: 500 }, (_, at) => call(join, holder(`user ${at % 50}`)))
  await settled()
  assert.equal(begun.length, 50)
  for (const one of begun.reverse()) one.answer()
  for (const [at, { answer }] of callers.entries()) {
    assert.equal((await answer).value, `for user ${at % 50}`)
  }
})

test('another audience is another exchange', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  call(join, holder('alice', 'token', 'a'))
  call(join, holder('alice', 'token', 'b'))
  await settled()
  assert.equal(begun.length, 2)
})

test('the next caller after an answer begins a new exchange', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const first = call(join, holder('alice'))
  begun[0]!.answer()
  await first.answer
  call(join, holder('alice'))
  assert.equal(begun.length, 2)
})

test('who leaves takes only itself out', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const [first, second, third] = [1, 2, 3].map(() => call(join, holder('alice')))
  first!.leave()
  await assert.rejects(first!.answer, LEFT)
  second!.leave()
  await assert.rejects(second!.answer, LEFT)
  assert.equal(begun[0]!.ask.signal.aborted, false)
  begun[0]!.answer()
  assert.equal((await third!.answer).value, 'for alice')
  assert.equal(begun.length, 1)
})

test('the last who leaves drops an exchange that was not sent', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const [first, second] = [1, 2].map(() => call(join, holder('alice')))
  first!.leave()
  second!.leave()
  await assert.rejects(second!.answer, LEFT)
  assert.equal(begun[0]!.ask.signal.aborted, true)
  assert.equal(begun[0]!.ended, true)
})

test('who left before it came begins nothing', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const signal = AbortSignal.abort(new Error('the caller left'))
  await assert.rejects(async () => join(holder('alice'), ask({ signal })), LEFT)
  assert.equal(begun.length, 0)
  call(join, holder('alice'))
  assert.equal(begun.length, 1)
})

test('an exchange that was sent runs to its end without callers, and its answer is kept', async () => {
  const store = createMemoryStore<Kept>({ maxEntries: 10, maxBytes: 100_000 })
  const { exchange, begun } = byHand()
  const join = joined(kept(exchange, store, createPurges()), createPurges())
  const only = call(join, holder('alice'))
  begun[0]!.send()
  only.leave()
  await assert.rejects(only.answer, LEFT)
  assert.equal(begun[0]!.ended, false)
  begun[0]!.answer()
  await settled()
  assert.equal(store.size, 1)
})

test('who comes to an exchange that was sent and left by all gets its answer', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const first = call(join, holder('alice'))
  begun[0]!.send()
  first.leave()
  const second = call(join, holder('alice'))
  begun[0]!.answer()
  assert.equal((await second.answer).value, 'for alice')
  assert.equal(begun.length, 1)
})

test('who comes to an exchange that was just dropped begins another', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const first = call(join, holder('alice'))
  first.leave()
  const second = call(join, holder('alice'))
  await settled()
  assert.equal(begun.length, 2)
  begun[1]!.answer()
  assert.equal((await second.answer).value, 'for alice')
  assert.equal(second.ask.outcome, 'miss')
})

test('with `key: context` a refusal is for the token that was sent: others ask with their own', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const old = call(join, holder('old', 'context'))
  const fresh = call(join, holder('fresh', 'context'))
  await settled()
  assert.equal(begun.length, 1)
  begun[0]!.fail(refused())
  await assert.rejects(old.answer, { code: 'exchange_denied' })
  await settled()
  assert.equal(begun.length, 2)
  assert.equal(begun[1]!.permit.subject.digest, 'fresh')
  begun[1]!.answer()
  assert.equal((await fresh.answer).value, 'for fresh')
})

test('a refusal is for every caller with the token that was sent', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const callers = [1, 2, 3].map(() => call(join, holder('alice', 'context')))
  begun[0]!.fail(refused())
  for (const { answer } of callers) await assert.rejects(answer, { code: 'exchange_denied' })
  assert.equal(begun.length, 1)
})

test('an outage is for every caller, whatever its token: nobody asks again', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  const callers = ['old', 'fresh'].map((digest) => call(join, holder(digest, 'context')))
  begun[0]!.fail(down())
  for (const { answer } of callers) await assert.rejects(answer, { code: 'exchange_unavailable' })
  assert.equal(begun.length, 1)
})

test('a failure is not kept: the next caller begins another exchange', async () => {
  const store = createMemoryStore<Kept>({ maxEntries: 10, maxBytes: 100_000 })
  const { exchange, begun } = byHand()
  const join = joined(kept(exchange, store, createPurges()), createPurges())
  for (const error of [refused(), down(), new TypeError('a defect')]) {
    const { answer } = call(join, holder('alice'))
    begun.at(-1)!.fail(error)
    await assert.rejects(answer, error)
  }
  assert.equal(begun.length, 3)
  assert.equal(store.size, 0)
})

test('between the answer and the cache there is no gap in which another exchange could begin', async () => {
  const store = createMemoryStore<Kept>({ maxEntries: 10, maxBytes: 100_000 })
  const { exchange, begun } = byHand()
  const purges = createPurges()
  const layers = cached(joined(kept(exchange, store, purges), purges), store, purges)
  const callers = [call(layers, holder('alice'))]
  begun[0]!.answer()
  for (let turn = 0; turn < 20; turn++) {
    callers.push(call(layers, holder('alice')))
    await Promise.resolve()
  }
  await Promise.all(callers.map(({ answer }) => answer))
  assert.equal(begun.length, 1)
  assert.equal(callers.at(-1)!.ask.outcome, 'hit')
})

test('an exchange that throws at once fails its callers and no more', async () => {
  const join = joined(() => {
    throw down()
  }, createPurges())
  await assert.rejects(call(join, holder('alice')).answer, { code: 'exchange_unavailable' })
  await assert.rejects(call(join, holder('alice')).answer, { code: 'exchange_unavailable' })
})

test('an exchange has the time of its route, from when it began', async (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  const { exchange, begun } = byHand()
  const join = joined(exchange, createPurges())
  call(join, permit({ route: { exchange: { timeoutMs: 700 } } }))
  context.mock.timers.tick(500)
  call(join, permit({ route: { exchange: { timeoutMs: 700 } } }))
  assert.equal(begun.length, 1)
  assert.equal(begun[0]!.ask.deadline, 1_000_700)
})

test('what a layer below noted of a failure is noted for all who joined', async () => {
  const join = joined(async (_permit, own) => {
    await settled()
    own.outcome = 'shed'
    throw down()
  }, createPurges())
  const callers = [1, 2, 3].map(() => call(join, holder('alice')))
  for (const { answer } of callers) await assert.rejects(answer, { code: 'exchange_unavailable' })
  assert.deepEqual(
    callers.map(({ ask }) => ask.outcome),
    ['shed', 'shed', 'shed'],
  )
})
