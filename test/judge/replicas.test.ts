import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_REDIS } from '../redis.ts'
import { judgeReplicas } from './replicas.ts'

test(
  'processes that share Redis make one exchange for each key, and none after a restart',
  { skip: NO_REDIS, timeout: 300_000 },
  async (t) => {
    const ends: (() => unknown)[] = []
    t.after(async () => {
      for (const end of ends.reverse()) await end()
    })
    const scope = { after: (end: () => unknown) => void ends.push(end) }
    const { faults } = await judgeReplicas(scope, { processes: 2, concurrent: 60, keys: 30 })
    assert.deepEqual(faults, [])
  },
)
