import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeHostile } from './hostile.ts'

test(
  'callers that vanish mid-body, and slow ones, fail no good request and leave nothing behind',
  { timeout: 300_000 },
  async (t) => {
    const size = { rounds: 1, vanishing: 100, slow: 25, seconds: 1, most: undefined }
    const { faults } = await judgeHostile(t, size, 1)
    assert.deepEqual(faults, [])
  },
)
