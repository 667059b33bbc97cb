import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { Redis, Reply } from '../../src/store/redis.ts'
import type { ReplayStore } from '../../src/store/replay.ts'
import { createSeals } from '../../src/store/seal.ts'
import { createSharedReplayStore } from '../../src/store/shared-replay.ts'

const NOW = Date.parse('2027-01-01T00:00:00Z')
const UNAVAILABLE = { code: 'replay_store_unavailable', status: 503, retryAfter: 1 }

interface Fake extends Pick<Redis, 'run'> {
  readonly asked: { readonly keys: readonly string[]; readonly args: readonly unknown[] }[]
}

/** As Redis does it with what is used, unless another answer is given. */
function fake(answer?: (name: string) => Reply | undefined): Fake {
  const kept = new Set<string>()
  const asked: Fake['asked'] = []
  return {
    asked,
    async run(_script, keys, args) {
      asked.push({ keys, args })
      const name = keys[0]!
      if (answer !== undefined) return answer(name)
      return kept.has(name) ? 0 : kept.add(name) && 1
    },
  }
}

function storeOf(redis: Fake, ...keys: Buffer[]): ReplayStore {
  return createSharedReplayStore(redis as unknown as Redis, createSeals(keys))
}

test('what one replica saw another refuses, in one round trip, by a name that says nothing', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const [redis, key] = [fake(), randomBytes(32)]
  const [one, other] = [storeOf(redis, key), storeOf(redis, key)]
  assert.equal(await one.isFirst('a proof', NOW + 60_000, 'a key'), true)
  assert.equal(await other.isFirst('a proof', NOW + 60_000, 'a key'), false)
  assert.equal(await other.isFirst('another proof', NOW + 60_000, 'a key'), true)
  assert.equal(redis.asked.length, 3)
  const [first] = redis.asked
  assert.match(first?.keys.join(' ') ?? '', /^behalf:proof:[\w-]{43}$/)
  assert.doesNotMatch(JSON.stringify(redis.asked), /a proof|a key/)
  // As long as anybody would take it, whose clock is late by ten seconds at most.
  assert.deepEqual(first?.args, ['70000'])
})

test('while the sealing key is replaced, replicas of before and after know what each other saw', async () => {
  const [old, fresh] = [randomBytes(32), randomBytes(32)]
  // The steps of a rotation: of two that follow each other replicas run at once.
  const steps = [[old], [old, fresh], [fresh, old], [fresh]]
  for (const [index, after] of steps.slice(1).entries()) {
    for (const [first, second] of [
      [steps[index]!, after],
      [after, steps[index]!],
    ] as const) {
      const redis = fake()
      const until = Date.now() + 60_000
      assert.equal(await storeOf(redis, ...first).isFirst('a proof', until, 'a key'), true)
      assert.equal(await storeOf(redis, ...second).isFirst('a proof', until, 'a key'), false)
    }
  }
})

for (const [what, answer] of [
  ['none', undefined],
  ['OK', 'OK'],
  ['nothing', null],
  ['another number', 2],
  ['a text of the number', Buffer.from('1')],
] as const) {
  test(`${what} is no answer: nobody can tell`, async () => {
    const store = storeOf(
      fake(() => answer),
      randomBytes(32),
    )
    await assert.rejects(
      async () => store.isFirst('a proof', Date.now() + 60_000, 'a key'),
      UNAVAILABLE,
    )
  })
}

test('one name of two that cannot be looked up is one too many', async () => {
  const keys = [randomBytes(32), randomBytes(32)]
  const [, second] = createSeals(keys).named('proof', 'a proof')
  const store = storeOf(
    fake((name) => (name === second ? undefined : 1)),
    ...keys,
  )
  await assert.rejects(
    async () => store.isFirst('a proof', Date.now() + 60_000, 'a key'),
    UNAVAILABLE,
  )
})
