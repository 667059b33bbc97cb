import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import type { Permit } from '../../src/authorize/authorize.ts'
import type { GatewayError } from '../../src/errors.ts'
import type { Exchange } from '../../src/exchange/exchange.ts'
import type { IssuedToken } from '../../src/exchange/issued.ts'
import { joined } from '../../src/exchange/join.ts'
import { createPurges } from '../../src/exchange/purge.ts'
import {
  type Begun,
  byHand,
  call,
  type Caller,
  down,
  holder,
  LEFT,
  refused,
  settled,
} from './by-hand.ts'

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
      const join = joined(exchange, createPurges())
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

const audienceOf = ({ route }: Permit): string => String(route.exchange.audience)

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
