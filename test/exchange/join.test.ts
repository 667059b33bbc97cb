import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import type { Permit } from '../../src/authorize/authorize.ts'
import { GatewayError } from '../../src/errors.ts'
import { kept } from '../../src/exchange/cache.ts'
import type { Ask, Exchange, IssuedToken } from '../../src/exchange/exchange.ts'
import { joined } from '../../src/exchange/join.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { ask, issuedToken, permit } from '../support.ts'

/** One exchange that the layer under test began. */
interface Begun {
  readonly permit: Permit
  readonly ask: Ask
  answer(token?: IssuedToken): void
  fail(error: Error): void
  /** From now on nothing drops it. */
  send(): void
  ended: boolean
}

/** Exchanges that end when the test says so, and are dropped by their signal until they are sent. */
function byHand(): { exchange: Exchange; begun: Begun[] } {
  const begun: Begun[] = []
  const exchange: Exchange = (permit, ask) =>
    new Promise<IssuedToken>((resolve, reject) => {
      const drop = (): void => one.fail(ask.signal.reason as Error)
      const one: Begun = {
        permit,
        ask,
        ended: false,
        answer(token = issuedToken({ value: `for ${permit.subject.digest}` })) {
          one.ended = true
          resolve(token)
        },
        fail(error) {
          one.ended = true
          reject(error)
        },
        send: () => ask.signal.removeEventListener('abort', drop),
      }
      ask.signal.addEventListener('abort', drop, { once: true })
      begun.push(one)
    })
  return { exchange, begun }
}

interface Caller {
  readonly ask: Ask
  readonly answer: Promise<IssuedToken>
  leave(): void
}

function call(exchange: Exchange, permit: Permit): Caller {
  const controller = new AbortController()
  const own = ask({ signal: controller.signal })
  const answer = Promise.resolve(exchange(permit, own))
  // Each test looks at it in its own time.
  answer.catch(() => undefined)
  return { ask: own, answer, leave: () => controller.abort(new Error('the caller left')) }
}

/** Everything that is due has happened. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function holder(digest: string, key: 'token' | 'context' = 'token', audience = 'a'): Permit {
  return permit({ subject: { digest }, route: { exchange: { key, audience } } })
}

const refused = (): GatewayError => new GatewayError('exchange_denied', 'denied')
const down = (): GatewayError => new GatewayError('exchange_unavailable', 'down')
const LEFT = { message: 'the caller left' }

test('500 concurrent callers of one key make one exchange', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange)
  const callers = Array.from({ length: 500 }, () => call(join, holder('alice')))
  await settled()
  assert.equal(begun.length, 1)
  begun[0]!.answer()
  const tokens = await Promise.all(callers.map(({ answer }) => answer))
  assert.equal(new Set(tokens).size, 1)
  assert.deepEqual(callers.map(({ ask }) => ask.outcome).sort(), [
    ...Array.from({ length: 499 }, () => 'joined'),
    'miss',
  ])
})

test('50 users make 50 exchanges, and each gets the own token', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange)
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
  const join = joined(exchange)
  call(join, holder('alice', 'token', 'a'))
  call(join, holder('alice', 'token', 'b'))
  await settled()
  assert.equal(begun.length, 2)
})

test('the next caller after an answer begins a new exchange', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange)
  const first = call(join, holder('alice'))
  begun[0]!.answer()
  await first.answer
  call(join, holder('alice'))
  assert.equal(begun.length, 2)
})

test('who leaves takes only itself out', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange)
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
  const join = joined(exchange)
  const [first, second] = [1, 2].map(() => call(join, holder('alice')))
  first!.leave()
  second!.leave()
  await assert.rejects(second!.answer, LEFT)
  assert.equal(begun[0]!.ask.signal.aborted, true)
  assert.equal(begun[0]!.ended, true)
})

test('who left before it came begins nothing', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange)
  const signal = AbortSignal.abort(new Error('the caller left'))
  await assert.rejects(async () => join(holder('alice'), ask({ signal })), LEFT)
  assert.equal(begun.length, 0)
  call(join, holder('alice'))
  assert.equal(begun.length, 1)
})

test('an exchange that was sent runs to its end without callers, and its answer is kept', async () => {
  const store = createMemoryStore<IssuedToken>({ maxEntries: 10, maxBytes: 100_000 })
  const { exchange, begun } = byHand()
  const join = joined(kept(exchange, store))
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
  const join = joined(exchange)
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
  const join = joined(exchange)
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
  const join = joined(exchange)
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
  const join = joined(exchange)
  const callers = [1, 2, 3].map(() => call(join, holder('alice', 'context')))
  begun[0]!.fail(refused())
  for (const { answer } of callers) await assert.rejects(answer, { code: 'exchange_denied' })
  assert.equal(begun.length, 1)
})

test('an outage is for every caller, whatever its token: nobody asks again', async () => {
  const { exchange, begun } = byHand()
  const join = joined(exchange)
  const callers = ['old', 'fresh'].map((digest) => call(join, holder(digest, 'context')))
  begun[0]!.fail(down())
  for (const { answer } of callers) await assert.rejects(answer, { code: 'exchange_unavailable' })
  assert.equal(begun.length, 1)
})

test('a failure is not kept: the next caller begins another exchange', async () => {
  const store = createMemoryStore<IssuedToken>({ maxEntries: 10, maxBytes: 100_000 })
  const { exchange, begun } = byHand()
  const join = joined(kept(exchange, store))
  for (const error of [refused(), down(), new TypeError('a defect')]) {
    const { answer } = call(join, holder('alice'))
    begun.at(-1)!.fail(error)
    await assert.rejects(answer, error)
  }
  assert.equal(begun.length, 3)
  assert.equal(store.size, 0)
})

test('an exchange that throws at once fails its callers and no more', async () => {
  const join = joined(() => {
    throw down()
  })
  await assert.rejects(call(join, holder('alice')).answer, { code: 'exchange_unavailable' })
  await assert.rejects(call(join, holder('alice')).answer, { code: 'exchange_unavailable' })
})

test('an exchange has the time of its route, from when it began', async (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  const { exchange, begun } = byHand()
  const join = joined(exchange)
  call(join, permit({ route: { exchange: { timeoutMs: 700 } } }))
  context.mock.timers.tick(500)
  call(join, permit({ route: { exchange: { timeoutMs: 700 } } }))
  assert.equal(begun.length, 1)
  assert.equal(begun[0]!.ask.deadline, 1_000_700)
})

// Keys a and b; of each key two tokens that share it, and a time for each thing that can happen.
const holders = ['a', 'b'].flatMap((audience) =>
  ['one', 'two'].map((digest) => holder(`${audience} ${digest}`, 'context', audience)),
)
const which = fc.nat(30)
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('arrive' as const), which }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom('leave', 'send', 'answer', 'refuse', 'break' as const),
      which,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('rest' as const), which }) },
)

test('whatever order callers come, leave and are answered in, each gets what is its own', async (context) => {
  const stray: unknown[] = []
  const note = (reason: unknown): void => void stray.push(reason)
  process.on('unhandledRejection', note)
  context.after(() => process.off('unhandledRejection', note))

  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { exchange, begun } = byHand()
      const join = joined(exchange)
      const callers: Guest[] = []
      for (const { kind, which } of steps) {
        const flying = begun.filter(({ ended }) => !ended)
        const one = flying[which % Math.max(1, flying.length)]
        if (kind === 'arrive') callers.push(guest(join, holders[which % holders.length]!))
        else if (kind === 'leave') callers[which % Math.max(1, callers.length)]?.leave()
        else if (kind === 'send') one?.send()
        else if (kind === 'answer') one?.answer()
        else if (kind === 'refuse') one?.fail(refused())
        else if (kind === 'break') one?.fail(down())
        // From a single turn to all of them: what is due has happened in part only.
        else if (which % 4 > 0) for (let turn = 0; turn < which; turn++) await Promise.resolve()
        else await settled()
        assertOneEach(begun)
      }
      await drain(begun)
      for (const one of callers) assertOwn(one, begun)
      await assertNothingFlies(join, begun)
    }),
    { numRuns: 1_500 },
  )
  await settled()
  assert.deepEqual(stray, [])
})

interface Guest extends Caller {
  readonly permit: Permit
  left: boolean
  outcome: PromiseSettledResult<IssuedToken> | undefined
}

function guest(join: Exchange, permit: Permit): Guest {
  const caller = call(join, permit)
  const one: Guest = {
    ...caller,
    permit,
    left: false,
    outcome: undefined,
    leave() {
      if (one.outcome === undefined) one.left = true
      caller.leave()
    },
  }
  caller.answer.then(
    (value) => (one.outcome = { status: 'fulfilled', value }),
    (reason: unknown) => (one.outcome = { status: 'rejected', reason }),
  )
  return one
}

const audienceOf = ({ route }: Permit): string => route.exchange.audience ?? ''

function assertOneEach(begun: readonly Begun[]): void {
  const flying = begun.filter(({ ended }) => !ended).map(({ permit }) => audienceOf(permit))
  assert.equal(new Set(flying).size, flying.length, 'two exchanges of one key at a time')
}

/** Answers what still flies, and what begins because of it, within bounds. */
async function drain(begun: readonly Begun[]): Promise<void> {
  for (let round = 0; round < 20; round++) {
    await settled()
    const flying = begun.filter(({ ended }) => !ended)
    if (flying.length === 0) return
    for (const one of flying) one.answer()
  }
  assert.fail('exchanges begin without end')
}

function assertOwn({ permit, left, outcome }: Guest, begun: readonly Begun[]): void {
  assert.ok(outcome !== undefined, 'a caller still waits')
  const { digest } = permit.subject
  if (outcome.status === 'fulfilled') {
    assert.equal(outcome.value.value.split(' ')[1], audienceOf(permit), 'a token of another key')
    return
  }
  const { message, code } = outcome.reason as GatewayError
  if (left && message === LEFT.message) return
  assert.ok(code === 'exchange_denied' || code === 'exchange_unavailable', message)
  const sent = begun.some((one) =>
    code === 'exchange_denied'
      ? one.permit.subject.digest === digest
      : audienceOf(one.permit) === audienceOf(permit),
  )
  assert.ok(sent, 'a failure of another')
}

async function assertNothingFlies(join: Exchange, begun: readonly Begun[]): Promise<void> {
  for (const permit of holders) {
    const before = begun.length
    const { answer } = call(join, permit)
    assert.equal(begun.length, before + 1, 'an exchange that ended is still joined')
    begun.at(-1)!.answer()
    await answer
  }
}
