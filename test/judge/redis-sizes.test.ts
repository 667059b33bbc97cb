import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_REDIS } from '../redis.ts'
import { measureRedis } from './redis-sizes.ts'

test(
  'a hit in memory asks nobody, one in Redis asks once, and an exchange asks and tells',
  { skip: NO_REDIS, timeout: 60_000 },
  async (t) => {
    const { faults, entryBytes, told } = await measureRedis(t, { lookUps: 500 })
    t.diagnostic(JSON.stringify(told))
    assert.deepEqual(faults, [])
    assert.ok(entryBytes > 0 && entryBytes < 1_024, `${entryBytes} bytes beside the token`)
  },
)
