import assert from 'node:assert/strict'
import { test } from 'node:test'
import { skip } from '../vectors/folder.ts'
import { judgeDrift } from './drift.ts'

test(
  'each field of each object is found broken, and mended by one call that touches nothing else',
  { skip, timeout: 120_000 },
  async (t) => {
    const { faults } = await judgeDrift(t, { ways: 1 })
    assert.deepEqual(faults, [])
  },
)
