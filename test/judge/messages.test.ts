import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeMessages } from './messages.ts'

test(
  'frames, messages and calls come back as sent, in flat memory',
  { timeout: 300_000 },
  async (t) => {
    const { faults } = await judgeMessages(t, { frames: 5_000, messages: 5_000, calls: 500 })
    assert.deepEqual(faults, [])
  },
)
