import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRates } from '../../src/store/rates.ts'

test('a burst is taken at once, and then one for each interval', (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { take } = createRates(10)
  const rate = { perSecond: 2, burst: 3 }
  assert.deepEqual(
    [1, 2, 3].map(() => take('a', rate)),
    [0, 0, 0],
  )
  assert.equal(take('a', rate), 500)
  assert.equal(take('b', rate), 0, 'another key has its own')
  t.mock.timers.tick(499)
  assert.equal(take('a', rate), 1)
  t.mock.timers.tick(1)
  assert.equal(take('a', rate), 0)
  assert.equal(take('a', rate), 500)
})

test('who is refused pays nothing, and who rests has the burst again, and no more', (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { take } = createRates(10)
  const rate = { perSecond: 10, burst: 2 }
  for (let count = 0; count < 2; count++) assert.equal(take('a', rate), 0)
  for (let count = 0; count < 100; count++) assert.equal(take('a', rate), 100)
  t.mock.timers.tick(60_000)
  assert.deepEqual(
    [1, 2, 3].map(() => take('a', rate)),
    [0, 0, 100],
  )
})

for (const perSecond of [0.1, 3, 7, 1_000]) {
  test(`over a minute ${perSecond} a second are ${perSecond * 60}, beside the burst`, (t) => {
    t.mock.timers.enable({ apis: ['Date'] })
    const { take } = createRates(10)
    let taken = 0
    for (let ms = 0; ms < 60_000; ms++) {
      if (take('a', { perSecond, burst: 5 }) === 0) taken++
      t.mock.timers.tick(1)
    }
    const expected = Math.min(60_000, perSecond * 60 + 5)
    assert.ok(Math.abs(taken - expected) <= 1, `${taken}`)
  })
}

test('a clock that is set back keeps nobody out for longer than the burst takes', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 3_600_000 })
  const { take } = createRates(10)
  const rate = { perSecond: 1, burst: 2 }
  take('a', rate)
  take('a', rate)
  t.mock.timers.setTime(0)
  assert.equal(take('a', rate), 1_000)
  t.mock.timers.setTime(1_000)
  assert.ok(take('a', rate) <= 1_000)
})

test('no more keys are kept than there is room for: the least recent begins anew', () => {
  const { take } = createRates(2)
  const rate = { perSecond: 0.001, burst: 1 }
  assert.equal(take('a', rate), 0)
  assert.equal(take('b', rate), 0)
  assert.notEqual(take('a', rate), 0)
  assert.equal(take('c', rate), 0)
  assert.notEqual(take('a', rate), 0)
  assert.equal(take('b', rate), 0)
})
