import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { NO_REDIS } from '../redis.ts'
import { judgeRedisFaults, REDIS_FAULT_NAMES } from './redis-faults.ts'

test(
  'no fault of Redis fails a request, and replicas share again when it is over',
  { skip: NO_REDIS, timeout: 180_000 },
  async (t) => {
    const { told } = await judgeRedisFaults(t, { lastsMs: 300, everyMs: 20 })
    assert.deepEqual(told, [])
  },
)

test('the page about reliability has a row for each fault of Redis that is tried', () => {
  const page = readFileSync('docs/reliability.md', 'utf8')
  for (const name of REDIS_FAULT_NAMES) assert.ok(page.includes(`| ${name}`), name)
})
