import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { judgeReloads } from './reloads.ts'

const NO_PROC = existsSync('/proc/self/fd') ? false : 'this system has no /proc'

test(
  'reloads under load fail no request, whatever the files hold, and none sees half of one',
  { timeout: 300_000, skip: NO_PROC },
  async (t) => {
    const { faults } = await judgeReloads(t, { reloads: 5, requests: 40, users: 6 })
    assert.deepEqual(faults, [])
  },
)
