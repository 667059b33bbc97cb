import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_REDIS } from '../redis.ts'
import { judgeStorm } from './storm.ts'

test(
  'a tenant that limits is used up and never overrun, and who comes back when told is served',
  { timeout: 300_000 },
  async (t) => {
    const { faults } = await judgeStorm(t, { users: 70, forMs: 5_000, used: 0.3 })
    assert.deepEqual(faults, [])
  },
)

test(
  'processes that share Redis have one budget, which is used and never overrun',
  { skip: NO_REDIS, timeout: 300_000 },
  async (t) => {
    const ends: (() => unknown)[] = []
    t.after(async () => {
      for (const end of ends.reverse()) await end()
    })
    const scope = { after: (end: () => unknown) => void ends.push(end) }
    // How late processes are that share a machine with others is not what this is about.
    const size = { processes: 2, users: 40, forMs: 3_000, used: 0.3, served: 0.5 }
    const { faults } = await judgeStorm(scope, size)
    assert.deepEqual(faults, [])
  },
)
