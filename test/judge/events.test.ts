import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeEvents } from './events.ts'

test(
  'each event of a stream has come before the next is sent, in flat memory',
  { timeout: 300_000 },
  async (t) => {
    const { faults } = await judgeEvents(t, { streams: 10, events: 100, everyMs: 0 })
    assert.deepEqual(faults, [])
  },
)
