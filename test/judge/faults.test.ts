import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { FAULT_NAMES, judgeFaults } from './faults.ts'

test(
  'a fault fails no more than what needs the part that has it, and ends when the fault does',
  { timeout: 300_000 },
  async (t) => {
    const { told } = await judgeFaults(t, { lastsMs: 400, everyMs: 20 })
    assert.deepEqual(told, [])
  },
)

test('the page about reliability has a row for each fault that is tried', () => {
  const page = readFileSync('docs/reliability.md', 'utf8')
  for (const name of FAULT_NAMES) assert.ok(page.includes(`| ${name}`), name)
})
