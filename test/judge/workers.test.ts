import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scoped } from './load.ts'
import { judgeWorkers } from './workers.ts'

test(
  'a worker that is killed under load loses at most what was in flight on it',
  { timeout: 300_000 },
  async () => {
    const size = { workers: 2, kills: 2, callers: 6, requests: 100 }
    const { faults } = await scoped((scope) => judgeWorkers(scope, size))
    assert.deepEqual(faults, [])
  },
)
