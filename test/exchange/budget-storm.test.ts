import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { GatewayError } from '../../src/errors.ts'
import { createBucket } from '../../src/exchange/bucket.ts'

const NOW = 1_800_000_000_000
const MINUTE = 60_000
const RATE = 8
const PATIENCE = 5_000

interface Storm {
  /** How many users come, in equal steps over so many milliseconds. */
  readonly users: number
  readonly overMs: number
  /** Whether those who are told to come back do, once. */
  readonly comeBack: boolean
  /** How late each look at the clock is, in milliseconds: a process that is busy. */
  readonly stepMs: number
}

interface Tally {
  /** When exchanges left, in milliseconds from the start. */
  readonly left: number[]
  readonly told: number[]
  /** Of those who came back when they were told to. */
  readonly back: { came: number; served: number }
  /** The longest that somebody waited before it was shed. */
  longestVain: number
}

/** Distinct users at a bucket of eight a second, in a time that is moved by hand for three minutes. */
async function storm(
  context: TestContext,
  { users, overMs, comeBack, stepMs }: Storm,
): Promise<Tally> {
  context.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
  const bucket = createBucket({ rate: RATE, burst: 1 })
  const tally: Tally = { left: [], told: [], back: { came: 0, served: 0 }, longestVain: 0 }
  const returns: { key: string; at: number }[] = []

  function arrive(key: string, again: boolean): void {
    const at = Date.now()
    if (again) tally.back.came++
    const { signal } = new AbortController()
    bucket.take({ signal, deadline: at + PATIENCE, key }).then(
      () => {
        assert.ok(Date.now() <= at + PATIENCE, 'served after its deadline')
        tally.left.push(Date.now() - NOW)
        if (again) tally.back.served++
      },
      (error: GatewayError) => {
        tally.longestVain = Math.max(tally.longestVain, Date.now() - at)
        const told = error.retryAfter!
        tally.told.push(told)
        if (comeBack && !again && told < 60) {
          returns.push({ key, at: Date.now() + told * 1_000 + Math.random() * 20 })
        }
      },
    )
  }

  let come = 0
  for (let at = 0; at < 3 * MINUTE; at += stepMs) {
    const due = overMs === 0 ? users : Math.min(users, Math.floor((at / overMs) * users))
    while (come < due) arrive(`user ${come++}`, false)
    const now = Date.now()
    for (const one of returns.filter((one) => one.at <= now)) arrive(one.key, true)
    returns.splice(0, returns.length, ...returns.filter((one) => one.at > now))
    for (let turn = 0; turn < 4; turn++) await Promise.resolve()
    context.mock.timers.tick(stepMs)
    for (let turn = 0; turn < 4; turn++) await Promise.resolve()
  }
  return tally
}

const inTheFirstMinute = ({ left }: Tally): number => left.filter((at) => at <= MINUTE).length

for (const overMs of [0, MINUTE]) {
  for (const comeBack of [true, false]) {
    if (overMs === 0 && !comeBack) continue
    const when = overMs === 0 ? 'at once' : 'in a minute'
    const then = comeBack ? 'come back when told' : 'never come back'
    test(`10 000 users who come ${when} and ${then} spend the whole budget`, async (context) => {
      const tally = await storm(context, { users: 10_000, overMs, comeBack, stepMs: 4 })
      const exchanges = inTheFirstMinute(tally)
      assert.ok(exchanges >= 456 && exchanges <= 482, `${exchanges} exchanges`)
      const { came, served } = tally.back
      context.diagnostic(
        `${exchanges} in a minute, ${served} of ${came} who came back, vain ${tally.longestVain} ms`,
      )
      if (comeBack) assert.ok(served >= came * 0.95 && came > 300, `${served} of ${came} served`)
      assert.ok(tally.told.every((seconds) => seconds >= 1 && seconds <= 60))
    })
  }
}

test('a process that is always late loses no turns', async (context) => {
  const tally = await storm(context, { users: 10_000, overMs: 0, comeBack: true, stepMs: 60 })
  const exchanges = inTheFirstMinute(tally)
  assert.ok(exchanges >= 456 && exchanges <= 482, `${exchanges} exchanges`)
})
