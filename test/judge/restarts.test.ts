import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scoped } from './load.ts'
import { judgeRestarts, NO_NGINX } from './restarts.ts'

test(
  'a rolling restart of two processes behind nginx fails no request under load',
  { skip: NO_NGINX, timeout: 300_000 },
  async () => {
    const size = { restarts: 1, users: 10, callers: 4, delay: '2s' }
    const { faults } = await scoped((scope) => judgeRestarts(scope, size))
    assert.deepEqual(faults, [])
  },
)
