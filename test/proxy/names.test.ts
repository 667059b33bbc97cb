import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { nameOf } from '../../src/proxy/names.ts'

test('a name is what its bytes say, whatever came before it, and however often it comes', () => {
  // Of few letters, so that many have the place of another one.
  const name = fc.string({ unit: fc.constantFrom('a', 'A', 'b', '-', 'q'), maxLength: 60 })
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 50 }), (names) => {
      for (const one of [...names, ...names]) assert.equal(nameOf(Buffer.from(one)), one)
    }),
    { numRuns: 200 },
  )
})

test('names of the same length with the same first and last letter are told apart', () => {
  for (const one of ['x-abcd', 'x-bacd', 'x-abcd', 'x-bccd']) {
    assert.equal(nameOf(Buffer.from(one)), one)
  }
})

test('a name that is remembered is not what the memory that it was read from becomes', () => {
  const memory = Buffer.from('content-type')
  assert.equal(nameOf(memory), 'content-type')
  memory.write('content-tale')
  assert.equal(nameOf(memory), 'content-tale')
  assert.equal(nameOf(Buffer.from('content-type')), 'content-type')
})

test('bytes beyond ASCII are one character each, as Node reads them', () => {
  const bytes = Buffer.from([0x78, 0xe9, 0xff])
  assert.equal(nameOf(bytes), 'x\u00e9\u00ff')
  assert.equal(nameOf(bytes), 'x\u00e9\u00ff')
})
