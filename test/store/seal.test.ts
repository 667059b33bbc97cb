import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { createSeals } from '../../src/store/seal.ts'

const KEY = randomBytes(32)
const OTHER = randomBytes(32)

test('a value opens for its own name and secret, and in no other way', () => {
  const seals = createSeals([KEY])
  const value = seals.seal('name', 'a text', 'secret')
  assert.equal(seals.open('name', value, 'secret'), 'a text')
  assert.equal(seals.open('another', value, 'secret'), undefined)
  assert.equal(seals.open('name', value, 'another'), undefined)
  assert.equal(seals.open('name', value, ''), undefined)
  assert.equal(createSeals([OTHER]).open('name', value, 'secret'), undefined)
})

test('no changed, cut or lengthened value opens, and nothing throws', () => {
  const seals = createSeals([KEY])
  const value = seals.seal('name', 'a text that is somewhat longer', 'secret')
  for (let bit = 0; bit < value.length * 8; bit++) {
    const changed = Buffer.from(value)
    changed[bit >> 3]! ^= 1 << (bit & 7)
    assert.equal(seals.open('name', changed, 'secret'), undefined, `bit ${bit}`)
  }
  for (let length = 0; length < value.length; length++) {
    assert.equal(seals.open('name', value.subarray(0, length), 'secret'), undefined)
  }
  assert.equal(seals.open('name', Buffer.concat([value, Buffer.of(0)]), 'secret'), undefined)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.equal(seals.open('name', Buffer.from(bytes), 'secret'), undefined)
    }),
  )
})

test('each key opens, the first seals, and each has names of its own', () => {
  const [old, both, fresh] = [createSeals([KEY]), createSeals([OTHER, KEY]), createSeals([OTHER])]
  const sealed = old.seal('name', 'old', '')
  assert.equal(both.open('name', sealed, ''), 'old')
  assert.equal(fresh.open('name', sealed, ''), undefined)
  const next = both.seal('name', 'new', '')
  assert.equal(fresh.open('name', next, ''), 'new')
  assert.equal(old.open('name', next, ''), undefined)
  assert.deepEqual(both.names('key'), [...fresh.names('key'), ...old.names('key')])
  assert.deepEqual(both.marks('key'), [...fresh.marks('key'), ...old.marks('key')])
})

test('no value is sealed twice alike, and names and marks of one text differ', () => {
  const seals = createSeals([KEY])
  assert.notDeepEqual(seals.seal('name', 'a', ''), seals.seal('name', 'a', ''))
  const [name = ''] = seals.names('one')
  assert.match(name, /^behalf:entry:\{[\w-]{43}\}$/)
  assert.notEqual(name.split(':')[2], seals.marks('one')[0]?.split(':')[2])
})

test('a sealing key has 32 bytes, and there is one', () => {
  assert.throws(() => createSeals([]), RangeError)
  assert.throws(() => createSeals([randomBytes(31)]), RangeError)
})
