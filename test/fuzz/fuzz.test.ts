import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TWIST_NAMES } from './grammar.ts'
import { fuzzGateway, fuzzNaiveProxy } from './run.ts'

const bounded = { timeout: 120_000 }
const SEED = 20

test('of requests by a grammar what arrives is what was sent as one', bounded, async (t) => {
  const { counts, faults } = await fuzzGateway(t, { seed: SEED, requests: 3_000 })
  assert.deepEqual(faults, [])
  for (const name of TWIST_NAMES) assert.ok(name in counts, `${name} was tried`)
})

test('the same harness finds what a naive proxy desynchronises', bounded, async (t) => {
  const { counts, faults } = await fuzzNaiveProxy(t, { seed: SEED, requests: 300 })
  assert.notDeepEqual(faults, [])
  assert.ok(Number(counts['smuggled']) > 0)
})
