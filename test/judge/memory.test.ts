/** By HTTP/1.1 it stands in `test/proxy/streams.test.ts`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_OPENSSL } from '../certificates.ts'
import { MIB } from '../proxy/bodies.ts'
import { judgeMemory } from './memory.ts'

test(
  'bodies of 64 MiB leave no more behind than those of 8 MiB by HTTP/2',
  { timeout: 300_000, skip: NO_OPENSSL },
  async (t) => {
    const { faults } = await judgeMemory(t, {
      ...{ small: 8 * MIB, large: 64 * MIB },
      versions: ['HTTP/2'],
    })
    assert.deepEqual(faults, [])
  },
)
