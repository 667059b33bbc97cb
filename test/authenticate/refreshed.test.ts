import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { createRefreshed, type Refreshed } from '../../src/authenticate/refreshed.ts'
import { NOW } from './issuer.ts'

interface Source {
  readonly refreshed: Refreshed<number>
  /** How often it was loaded; each load has the count as its value. */
  loads: number
  fails: boolean
}

function source(t: TestContext): Source {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const made: Source = {
    loads: 0,
    fails: false,
    refreshed: createRefreshed({
      load: async () => {
        made.loads++
        if (made.fails) throw new Error(`load ${made.loads} failed`)
        return made.loads
      },
      freshForMs: 100,
      staleForMs: 1_000,
      cooldownMs: 10,
    }),
  }
  return made
}

test('what is fresh is given at once and not asked for again', async (t) => {
  const made = source(t)
  assert.equal(made.refreshed.peek(), undefined)
  assert.equal(await made.refreshed.current(), 1)
  t.mock.timers.tick(99)
  assert.equal(made.refreshed.current(), 1)
  assert.equal(made.loads, 1)
})

test('what is stale is given at once, and renewed for the next', async (t) => {
  const made = source(t)
  await made.refreshed.current()
  t.mock.timers.tick(100)
  assert.equal(made.refreshed.current(), 1)
  await new Promise(setImmediate)
  assert.equal(made.refreshed.current(), 2)
})

test('what is too old is not given, whatever the source does', async (t) => {
  const made = source(t)
  await made.refreshed.current()
  made.fails = true
  t.mock.timers.tick(1_100)
  assert.equal(made.refreshed.peek(), undefined)
  await assert.rejects(async () => made.refreshed.current(), /load 2 failed/)
  // Within the cooldown the same failure is told again, without another load.
  await assert.rejects(async () => made.refreshed.current(), /load 2 failed/)
  await assert.rejects(async () => made.refreshed.renewed(), /load 2 failed/)
  assert.equal(made.loads, 2)
})

test('a failed renewal in the background is nobody’s rejection', async (t) => {
  const made = source(t)
  await made.refreshed.current()
  made.fails = true
  t.mock.timers.tick(100)
  for (let step = 0; step < 10; step++) {
    assert.equal(made.refreshed.current(), 1)
    await new Promise(setImmediate)
  }
  assert.equal(made.loads, 2)
})

test('who asks for a renewal and cannot have one is told so', async (t) => {
  const made = source(t)
  await made.refreshed.current()
  made.fails = true
  t.mock.timers.tick(10)
  await assert.rejects(async () => made.refreshed.renewed(), /load 2 failed/)
  await assert.rejects(async () => made.refreshed.renewed(), /load 2 failed/)
  assert.equal(made.refreshed.current(), 1)
  assert.equal(made.loads, 2)
  made.fails = false
  t.mock.timers.tick(10)
  assert.equal(await made.refreshed.renewed(), 3)
  assert.equal(await made.refreshed.renewed(), 3)
})

test('whether the last load failed is known until one is good', async (t) => {
  const made = source(t)
  assert.equal(made.refreshed.failing(), false)
  made.fails = true
  await assert.rejects(async () => made.refreshed.current(), /load 1 failed/)
  assert.equal(made.refreshed.failing(), true)
  made.fails = false
  t.mock.timers.tick(10)
  assert.equal(await made.refreshed.current(), 2)
  assert.equal(made.refreshed.failing(), false)
})

test('a clock that is set back neither keeps a value fresh nor the source unasked', async (t) => {
  const made = source(t)
  await made.refreshed.current()
  t.mock.timers.setTime(NOW - 3_600_000)
  assert.equal(made.refreshed.current(), 1)
  await new Promise(setImmediate)
  assert.equal(made.refreshed.current(), 2)
  assert.equal(made.loads, 2)
})

test('renewals within a cooldown of the last load give what is known', async (t) => {
  const made = source(t)
  await made.refreshed.current()
  assert.equal(await made.refreshed.renewed(), 1)
  t.mock.timers.tick(10)
  const renewals = await Promise.all([made.refreshed.renewed(), made.refreshed.renewed()])
  assert.deepEqual(renewals, [2, 2])
  assert.equal(made.loads, 2)
})
