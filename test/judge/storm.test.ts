import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeStorm } from './storm.ts'

test(
  'a tenant that limits is used up and never overrun, and who comes back when told is served',
  { timeout: 120_000 },
  async (t) => {
    const { faults } = await judgeStorm(t, { users: 70, forMs: 5_000, used: 0.3 })
    assert.deepEqual(faults, [])
  },
)
