import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { keepFor } from '../../src/exchange/lifetime.ts'
import { issuedToken, permit } from '../support.ts'

const NOW = 1_800_000_000_000

/** In seconds. */
function kept(
  issued: number,
  own: number,
  { key = 'token', maxAge = 31_536_000 }: { key?: 'token' | 'context'; maxAge?: number } = {},
): number {
  const ms = keepFor(
    permit({
      subject: { expiresAt: NOW + own * 1_000 },
      route: { exchange: { key, maxAgeMs: maxAge * 1_000 } },
    }),
    issuedToken({ expiresAt: NOW + issued * 1_000 }),
    NOW,
  )
  return ms / 1_000
}

for (const [issued, own, expected] of [
  [3_600, 7_200, 3_570],
  [3_600, 300, 270],
  [300, 300, 270],
  [299, 3_600, 269.1],
  [60, 3_600, 54],
  [3_600, 60, 54],
  [1, 3_600, 0.9],
] as const) {
  test(`a token of ${issued} s for a subject of ${own} s is kept ${expected} s`, () => {
    assert.equal(kept(issued, own), expected)
  })
}

for (const [issued, own] of [
  [0, 3_600],
  [-60, 3_600],
  [-31_536_000, 3_600],
  [3_600, 0],
  [3_600, -3],
] as const) {
  test(`a token of ${issued} s for a subject of ${own} s is not kept`, () => {
    assert.ok(kept(issued, own) <= 0)
  })
}

test('a token of a year, or one that never ends, is kept as long as `maxAge` lets it', () => {
  assert.equal(kept(31_536_000, 31_536_000, { maxAge: 3_600 }), 3_570)
  assert.equal(kept(Number.POSITIVE_INFINITY, 31_536_000, { maxAge: 100 }), 90)
})

test('with `key: context` the subject’s own life does not end the entry, with `key: token` it does', () => {
  assert.equal(kept(3_600, 60, { key: 'context' }), 3_570)
  assert.equal(kept(3_600, 60, { key: 'token' }), 54)
})

test('what is kept ends before any of its bounds, by a tenth or by half a minute', () => {
  const seconds = fc.integer({ min: -10, max: 100_000 })
  fc.assert(
    fc.property(seconds, seconds, seconds, (issued, own, maxAge) => {
      const left = Math.min(issued, own, maxAge)
      const time = kept(issued, own, { maxAge })
      if (left <= 0) assert.ok(time <= 0)
      else assert.ok(Math.abs(left - time - Math.min(30, left / 10)) < 0.001)
    }),
  )
})
