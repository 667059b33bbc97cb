import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANSWER_TWISTS, fuzzAnswers } from './answers.ts'
import { TWIST_NAMES } from './grammar.ts'
import { fuzzGateway, fuzzNaiveProxy } from './run.ts'

const bounded = { timeout: 120_000 }
const SEED = 20

test('of requests by a grammar what arrives is what was sent as one', bounded, async (t) => {
  const { counts, faults } = await fuzzGateway(t, { seed: SEED, requests: 3_000 })
  assert.deepEqual(faults, [])
  for (const name of TWIST_NAMES) assert.ok(name in counts, `${name} was tried`)
})

test(
  'of answers by a grammar each caller gets their own, and a sound one whole',
  bounded,
  async (t) => {
    const { counts, faults } = await fuzzAnswers(t, { seed: SEED, requests: 500 })
    assert.deepEqual(faults, [])
    for (const name of ANSWER_TWISTS) assert.ok(name in counts, `${name} was tried`)
  },
)

test('the same harness finds what a naive proxy desynchronises', bounded, async (t) => {
  const { counts, faults } = await fuzzNaiveProxy(t, { seed: SEED, requests: 300 })
  assert.notDeepEqual(faults, [])
  assert.ok(Number(counts['smuggled']) > 0)
})
