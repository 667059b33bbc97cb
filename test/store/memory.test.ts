import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { createMemoryStore, type Bounds, type Store } from '../../src/store/memory.ts'

const MANY: Bounds = { maxEntries: 1_000, maxBytes: 1_000_000 }

function store(t: TestContext, bounds: Partial<Bounds> = {}): Store<{ name: string }> {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  return createMemoryStore({ ...MANY, ...bounds })
}

test('a value is kept for its time to live, and no longer', (t) => {
  const kept = store(t)
  kept.set('a', { name: 'a' }, 1_000, 10)
  t.mock.timers.tick(1_000)
  assert.deepEqual(kept.get('a'), { name: 'a' })
  t.mock.timers.tick(1)
  assert.equal(kept.get('a'), undefined)
  assert.equal(kept.size, 0)
  assert.equal(kept.bytes, 0)
})

test('reading a value does not lengthen its life; setting it anew does', (t) => {
  const kept = store(t)
  kept.set('a', { name: 'old' }, 1_000, 10)
  t.mock.timers.tick(900)
  assert.ok(kept.get('a'))
  t.mock.timers.tick(101)
  assert.equal(kept.get('a'), undefined)
  kept.set('a', { name: 'new' }, 1_000, 10)
  t.mock.timers.tick(900)
  kept.set('a', { name: 'newer' }, 1_000, 10)
  t.mock.timers.tick(900)
  assert.deepEqual(kept.get('a'), { name: 'newer' })
  assert.equal(kept.size, 1)
})

test('a part of a millisecond is a time to live, never for ever', (t) => {
  const kept = store(t)
  kept.set('a', { name: 'a' }, 0.4, 10)
  t.mock.timers.tick(2)
  assert.equal(kept.get('a'), undefined)
})

for (const ttl of [0, -0, -1, Number.NaN, Number.NEGATIVE_INFINITY]) {
  test(`a time to live of ${ttl} is refused, and what was there stays`, (t) => {
    const kept = store(t)
    kept.set('a', { name: 'before' }, 1_000, 10)
    assert.throws(() => kept.set('a', { name: 'after' }, ttl, 10), RangeError)
    assert.deepEqual(kept.get('a'), { name: 'before' })
  })
}

test('the least recently used entry goes when there are too many', (t) => {
  const kept = store(t, { maxEntries: 3 })
  for (const name of ['a', 'b', 'c']) kept.set(name, { name }, 1_000, 10)
  kept.get('a')
  kept.set('d', { name: 'd' }, 1_000, 10)
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].filter((name) => kept.get(name) !== undefined),
    ['a', 'c', 'd'],
  )
  assert.equal(kept.size, 3)
})

test('entries go when together they weigh too much, each with its overhead', (t) => {
  const kept = store(t, { maxBytes: 10_000 })
  for (let index = 0; index < 100; index++) kept.set(`${index}`, { name: '' }, 1_000, 488)
  assert.equal(kept.size, 10)
  assert.equal(kept.bytes, 10_000)
  kept.set('large', { name: '' }, 1_000, 5_000)
  assert.ok(kept.bytes <= 10_000)
  assert.ok(kept.get('large'))
})

test('a value that is larger than all together is not kept, and pushes nobody out', (t) => {
  const kept = store(t, { maxBytes: 10_000 })
  kept.set('a', { name: 'a' }, 1_000, 10)
  kept.set('large', { name: 'large' }, 1_000, 20_000)
  assert.equal(kept.get('large'), undefined)
  assert.ok(kept.get('a'))
})

test('a larger value in an older one’s place leaves neither', (t) => {
  const kept = store(t, { maxBytes: 10_000 })
  kept.set('a', { name: 'old' }, 1_000, 10)
  kept.set('a', { name: 'new' }, 1_000, 20_000)
  assert.equal(kept.get('a'), undefined)
})

for (const bounds of [{ maxEntries: 0 }, { maxBytes: 0 }, { maxEntries: -1 }, { maxBytes: 0.5 }]) {
  test(`${JSON.stringify(bounds)} is refused: it would be no bound at all`, (t) => {
    assert.throws(() => store(t, bounds), RangeError)
  })
}

test('what is deleted is gone, and takes its weight with it', (t) => {
  const kept = store(t)
  kept.set('a', { name: 'a' }, 1_000, 10)
  kept.set('b', { name: 'b' }, 1_000, 10)
  kept.delete('a')
  assert.equal(kept.get('a'), undefined)
  assert.ok(kept.get('b'))
  kept.clear()
  assert.equal(kept.size, 0)
  assert.equal(kept.bytes, 0)
})

test('keys that name an object’s own members are keys like others', (t) => {
  const kept = store(t)
  assert.equal(kept.get('__proto__'), undefined)
  assert.equal(kept.get('constructor'), undefined)
  kept.set('__proto__', { name: 'proto' }, 1_000, 10)
  assert.deepEqual(kept.get('__proto__'), { name: 'proto' })
})
