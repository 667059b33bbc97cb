import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeLayers } from './layers.ts'

test(
  'through the layers nobody meets the token of another; a key that forgets the user is found out',
  { timeout: 300_000 },
  async () => {
    const size = { requests: 40_000, users: 500, audiences: 20, cacheEntries: 2_000 }
    const { faults } = await judgeLayers(size, 1)
    assert.deepEqual(faults, [])
  },
)
