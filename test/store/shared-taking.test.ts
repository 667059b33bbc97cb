import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Redis, Reply, Script } from '../../src/store/redis.ts'
import { createSharedTakingStore, type SharedTakingStore } from '../../src/store/shared-taking.ts'

interface Sent {
  readonly keys: readonly string[]
  readonly args: readonly (string | Buffer)[]
}

/** Answers each script in turn; what comes too late is told afterwards. */
function storeOf(
  answer: (keys: readonly string[], tooLate?: (reply: Reply) => void) => Reply | undefined,
  isSpread = false,
): { readonly store: SharedTakingStore; readonly sent: Sent[] } {
  const sent: Sent[] = []
  const redis = {
    isSpread,
    isConnected: true,
    run: (
      _script: Script,
      keys: readonly string[],
      _args: readonly (string | Buffer)[],
      tooLate?: (reply: Reply) => void,
    ) => Promise.resolve(answer(keys, tooLate)),
    send: (_script: Script, keys: readonly string[], args: readonly (string | Buffer)[]) =>
      void sent.push({ keys, args }),
  }
  return { store: createSharedTakingStore(redis as unknown as Redis), sent }
}

test('what is taken is told with the latest refusal and mark of all that was looked up', async () => {
  const { store } = storeOf((keys) => {
    const replies: Record<string, Reply> = {
      one: [1_000, Buffer.from('900 sealed')],
      other: [1_001, Buffer.from('950 ')],
      nothing: [1_002],
      mark: Buffer.from('970'),
      none: null,
    }
    return replies[keys[0]!]
  })
  assert.deepEqual(await store.take(['one', 'other', 'nothing'], ['mark', 'none']), {
    at: 1_000,
    values: [Buffer.from('sealed'), undefined, undefined],
    refusedAt: 950,
    markedAt: 970,
  })
})

test('in a Cluster refusals and marks reach as far as its clocks may differ', async () => {
  const replies: Record<string, Reply> = {
    one: [1_000, Buffer.from('900 ')],
    mark: Buffer.from('1'),
  }
  const { store } = storeOf((keys) => replies[keys[0]!], true)
  const taken = await store.take(['one'], ['mark'])
  assert.deepEqual([taken?.refusedAt, taken?.markedAt], [2_900, 2_001])
})

for (const [what, reply] of [
  ['none', undefined],
  ['OK', 'OK'],
  ['a number', 1],
  ['a list without a time', [Buffer.from('1 a')]],
  ['a value of another kind', [1_000, 5]],
] as const) {
  test(`${what} is no answer: nothing is taken`, async () => {
    const { store, sent } = storeOf((keys) => (keys[0] === 'one' ? reply : [1_000]))
    assert.equal(await store.take(['one', 'other'], []), undefined)
    assert.deepEqual(sent, [])
  })
}

test('a mark that cannot be looked up is one too many, and what was taken is put back', async () => {
  const found = [1_000, Buffer.from('900 sealed')] as const
  const { store, sent } = storeOf((keys) => (keys[0] === 'one' ? found : undefined))
  assert.notEqual(await store.take(['one'], []), undefined)
  assert.equal(sent.length, 0)
  assert.equal(await store.take(['one'], ['mark']), undefined)
  assert.deepEqual(
    sent.map(({ keys }) => keys),
    [['one']],
  )
})

test('what was taken too late is put back as it was, and a refusal is not', async () => {
  const late: ((reply: Reply) => void)[] = []
  const { store, sent } = storeOf((_keys, tooLate) => {
    if (tooLate !== undefined) late.push(tooLate)
    return undefined
  })
  await store.take(['one', 'refused', 'empty', 'strange'], [])
  assert.equal(late.length, 4)
  late[1]!([1_000, Buffer.from('950 ')])
  late[2]!([1_000])
  late[3]!([1_000, Buffer.from('something')])
  assert.equal(sent.length, 0)
  late[0]!([1_000, Buffer.from('900 sealed')])
  assert.deepEqual(
    sent.map(({ keys, args: [value, , fence] }) => [keys, value, fence]),
    [[['one'], Buffer.from('sealed'), '900']],
  )
})

test('who puts or refuses knows whether it was done', async () => {
  const replies: (Reply | undefined)[] = [1, 0, undefined, 'OK']
  const { store } = storeOf(() => replies.shift())
  const putting = { name: 'one', value: Buffer.from('sealed'), ttlMs: 1_000, takenAt: 900 }
  for (const done of [true, false, undefined, undefined]) {
    assert.equal(await store.put(putting), done)
  }
  const refusals: (Reply | undefined)[] = [1_000, 1_001, 1_000, undefined]
  const { store: refusing } = storeOf(() => refusals.shift())
  assert.equal(await refusing.refuse(['one', 'other'], 1_000), true)
  assert.equal(await refusing.refuse(['one', 'other'], 1_000), false)
})
