import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeTokens } from '../judge/tokens.ts'

test(
  'no forged, respelled or changed token is accepted or exchanged, and each twin of one is accepted',
  { timeout: 120_000 },
  async (t) => {
    const { counts, faults } = await judgeTokens(t, 1, { spellings: 500, mutations: 500 })
    for (const [what, count] of Object.entries(counts)) t.diagnostic(`${count} ${what}`)
    assert.deepEqual(faults, [])
  },
)
