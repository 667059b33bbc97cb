import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Respawn } from '../../src/server/respawn.ts'

test('who ends soon after each start is started later each time, at most half a minute, and in the end not any more', () => {
  const respawn = new Respawn()
  const waits = Array.from({ length: 11 }, () => respawn.after(0))
  const doubled = [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000]
  assert.deepEqual(waits, [...doubled, undefined])
  assert.equal(respawn.inARow, 11)
})

test('who has lived for a minute is the first of a row', () => {
  const respawn = new Respawn()
  for (let time = 0; time < 5; time++) respawn.after(0)
  assert.equal(respawn.after(59_999), 3_200)
  assert.equal(respawn.after(60_000), 100)
  assert.equal(respawn.inARow, 1)
})

test('what is forgotten counts no more', () => {
  const respawn = new Respawn()
  for (let time = 0; time < 11; time++) respawn.after(0)
  respawn.forget()
  assert.equal(respawn.inARow, 0)
  assert.equal(respawn.after(0), 100)
})
