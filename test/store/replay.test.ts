import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryReplayStore } from '../../src/store/replay.ts'

const NOW = Date.parse('2027-01-01T00:00:00Z')

test('what is used is known until its end, and not after', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { isFirst } = createMemoryReplayStore()
  assert.equal(isFirst('one', NOW + 1_000, 'one'), true)
  assert.equal(isFirst('other', NOW + 1_000, 'other'), true)
  t.mock.timers.tick(999)
  assert.equal(isFirst('one', NOW + 1_000, 'one'), false)
  t.mock.timers.tick(1)
  assert.equal(isFirst('one', NOW + 2_000, 'one'), true)
})

test('a full store refuses what is new rather than forget what was used', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { isFirst } = createMemoryReplayStore({ maxEntries: 2 })
  assert.equal(isFirst('one', NOW + 10_000, 'one'), true)
  assert.equal(isFirst('two', NOW + 20_000, 'two'), true)
  const full = { code: 'replay_store_unavailable', status: 503, retryAfter: 1 }
  assert.throws(() => isFirst('three', NOW + 10_000, 'three'), full)
  assert.equal(isFirst('one', NOW + 10_000, 'one'), false)
  t.mock.timers.tick(10_000)
  assert.equal(isFirst('three', NOW + 20_000, 'three'), true)
  assert.equal(isFirst('two', NOW + 20_000, 'two'), false)
})

test('a full store finds room behind what lives longer', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { isFirst } = createMemoryReplayStore({ maxEntries: 2 })
  assert.equal(isFirst('long', NOW + 600_000, 'long'), true)
  assert.equal(isFirst('short', NOW + 1_000, 'short'), true)
  t.mock.timers.tick(1_000)
  assert.equal(isFirst('next', NOW + 10_000, 'next'), true)
  assert.equal(isFirst('long', NOW + 600_000, 'long'), false)
})

test('what has ended is forgotten without anyone asking for it', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { isFirst } = createMemoryReplayStore({ maxEntries: 10 })
  for (let round = 0; round < 100; round++) {
    for (let index = 0; index < 10; index++) {
      assert.equal(isFirst(`${round} ${index}`, Date.now() + 1_000, `${round} ${index}`), true)
    }
    t.mock.timers.tick(1_000)
  }
})

test('who uses all it can is refused alone, and everybody else finds room', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { isFirst } = createMemoryReplayStore({ maxEntries: 100 })
  const until = NOW + 60_000
  const refused = { code: 'replay_store_unavailable', status: 503, retryAfter: 1 }
  const fill = (holder: string): number => {
    for (let count = 0; ; count++) {
      try {
        assert.equal(isFirst(`${holder} ${count}`, until, holder), true)
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, refused.code)
        return count
      }
    }
  }

  assert.equal(fill('greedy'), 50)
  // Nothing of its own is forgotten for that, either.
  assert.equal(isFirst('greedy 0', until, 'greedy'), false)
  assert.equal(fill('another'), 25)
  assert.equal(isFirst('alice 0', until, 'alice'), true)
  assert.throws(() => isFirst('greedy 50', until, 'greedy'), refused)
  t.mock.timers.tick(60_000)
  assert.equal(isFirst('greedy 50', until + 60_000, 'greedy'), true)
})
