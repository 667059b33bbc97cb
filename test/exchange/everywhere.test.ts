import assert from 'node:assert/strict'
import { test } from 'node:test'
import { purgingEverywhere } from '../../src/exchange/everywhere.ts'
import { createPurges } from '../../src/exchange/purge.ts'
import { createSeals } from '../../src/store/seal.ts'
import type { SharedStore } from '../../src/store/shared.ts'

const seals = createSeals([Buffer.from('0123456789abcdef0123456789abcdef')])

/** A replica that asks once, when it starts, and is told these messages. */
async function hearing(messages: readonly string[]) {
  const purges = createPurges()
  const sealed = messages.map((text) => seals.seal('behalf:purges', text, ''))
  const told = {
    count: messages.length,
    purges: sealed.map((value, at) => ({ value, at: at + 1 })),
  }
  const store: Pick<SharedStore, 'started' | 'told'> = {
    started: Promise.resolve(),
    told: async () => told,
  }
  const { generation } = purges
  const everywhere = purgingEverywhere(store as SharedStore, seals, purges)
  everywhere.close()
  // All of it is done in microtasks.
  await new Promise(setImmediate)
  return { everywhere, heard: (tag: string) => purges.reaches([tag], generation) }
}

const message = (tags: unknown): string => JSON.stringify({ by: 'another replica', tags })
/** As a tag that is no string would be looked up. */
const SEVEN = 7 as unknown as string

test('what another replica purged is purged here', async () => {
  const { everywhere, heard } = await hearing([message(['one'])])
  assert.equal(heard('one'), true)
  assert.equal(everywhere.purgedAt(['one']), 1)
  assert.equal(heard('two'), false)
})

for (const [what, text] of [
  ['is not JSON', 'purged'],
  ['is null', 'null'],
  ['names no tags', JSON.stringify({ by: 'another replica' })],
  ['names a tag that is no string', message([SEVEN])],
  ['names tags that are no list', message('s')],
] as const) {
  test(`a message that ${what} is passed over, and the next one is heard`, async () => {
    const { heard } = await hearing([text, message(['two'])])
    for (const tag of [SEVEN, 's']) assert.equal(heard(tag), false)
    assert.equal(heard('two'), true)
  })
}
