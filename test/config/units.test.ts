import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { nearest } from '../../src/config/nearest.ts'
import { durationText, parseDuration, parseSize } from '../../src/config/units.ts'

for (const [text, ms] of [
  ['500ms', 500],
  ['5s', 5_000],
  ['1.5s', 1_500],
  ['1.1s', 1_100],
  ['10m', 600_000],
  ['1h', 3_600_000],
  ['7d', 604_800_000],
  ['0s', 0],
  ['0.5ms', undefined],
  ['5', undefined],
  ['5 s', undefined],
  ['-5s', undefined],
  ['+5s', undefined],
  ['5sec', undefined],
  ['1h30m', undefined],
  ['.5s', undefined],
  ['5.s', undefined],
  ['0x5s', undefined],
  ['1e3s', undefined],
  ['٥s', undefined],
  ['5s\n', undefined],
  ['Infinitys', undefined],
  ['', undefined],
] as const) {
  test(`the duration ${JSON.stringify(text)} is ${ms} ms`, () => {
    assert.equal(parseDuration(text), ms)
  })
}

for (const [text, bytes] of [
  ['0', 0],
  ['4096', 4_096],
  ['64KiB', 65_536],
  ['1.5KiB', 1_536],
  ['256MiB', 268_435_456],
  ['1GiB', 1_073_741_824],
  ['1KB', undefined],
  ['1kib', undefined],
  ['1 KiB', undefined],
  ['0.1KiB', undefined],
  ['-1', undefined],
  ['999999999999999GiB', undefined],
  ['', undefined],
] as const) {
  test(`the size ${JSON.stringify(text)} is ${bytes} bytes`, () => {
    assert.equal(parseSize(text), bytes)
  })
}

test('every duration is written so that it is read back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 366 * 86_400_000 }), (ms) => {
      const text = durationText(ms)
      // Nine digits and a unit hold a year in seconds, and eleven days in milliseconds.
      if (text.length <= 'ms'.length + 9) assert.equal(parseDuration(text), ms)
    }),
  )
})

const KEYS = ['audience', 'algorithms', 'issuer', 'client', 'proxy', 'path']
for (const [word, meant] of [
  ['audiance', 'audience'],
  ['AUDIENCE', 'audience'],
  ['audeince', 'audience'],
  ['algoritms', 'algorithms'],
  ['isser', 'issuer'],
  ['clients', 'client'],
  ['porxy', 'proxy'],
  ['pth', 'path'],
  ['upstream', undefined],
  ['x', undefined],
  ['', undefined],
  ['a'.repeat(10_000), undefined],
] as const) {
  test(`what is near ${JSON.stringify(word.slice(0, 12))} is ${meant ?? 'nothing'}`, () => {
    assert.equal(nearest(word, KEYS), meant)
  })
}
