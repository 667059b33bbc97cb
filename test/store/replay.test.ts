import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryReplayStore } from '../../src/store/replay.ts'

const NOW = Date.parse('2027-01-01T00:00:00Z')

test('what is used is known until its end, and not after', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { isFirst } = createMemoryReplayStore()
  assert.equal(isFirst('one', NOW + 1_000), true)
  assert.equal(isFirst('other', NOW + 1_000), true)
  t.mock.timers.tick(999)
  assert.equal(isFirst('one', NOW + 1_000), false)
  t.mock.timers.tick(1)
  assert.equal(isFirst('one', NOW + 2_000), true)
})

test('a full store refuses what is new rather than forget what was used', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { isFirst } = createMemoryReplayStore({ maxEntries: 2 })
  assert.equal(isFirst('one', NOW + 10_000), true)
  assert.equal(isFirst('two', NOW + 20_000), true)
  const full = { code: 'replay_store_unavailable', status: 503, retryAfter: 1 }
  assert.throws(() => isFirst('three', NOW + 10_000), full)
  assert.equal(isFirst('one', NOW + 10_000), false)
  t.mock.timers.tick(10_000)
  assert.equal(isFirst('three', NOW + 20_000), true)
  assert.equal(isFirst('two', NOW + 20_000), false)
})

test('a full store finds room behind what lives longer', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { isFirst } = createMemoryReplayStore({ maxEntries: 2 })
  assert.equal(isFirst('long', NOW + 600_000), true)
  assert.equal(isFirst('short', NOW + 1_000), true)
  t.mock.timers.tick(1_000)
  assert.equal(isFirst('next', NOW + 10_000), true)
  assert.equal(isFirst('long', NOW + 600_000), false)
})

test('what has ended is forgotten without anyone asking for it', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { isFirst } = createMemoryReplayStore({ maxEntries: 10 })
  for (let round = 0; round < 100; round++) {
    for (let index = 0; index < 10; index++) {
      assert.equal(isFirst(`${round} ${index}`, Date.now() + 1_000), true)
    }
    t.mock.timers.tick(1_000)
  }
})
