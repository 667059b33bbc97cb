import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_REDIS, startRedis } from '../redis.ts'
import { createRedis, type Redis, type Reply, type Script } from '../../src/store/redis.ts'
import { createSharedStore, script } from '../../src/store/shared.ts'
import { slotOf } from '../../src/store/cluster.ts'
import { createSeals } from '../../src/store/seal.ts'

const NAME = 'behalf:entry:{name}'
const LOOK = { names: [NAME], marks: ['behalf:mark:a'], claimant: 'me', anew: false }

interface Sent {
  readonly script: Script
  readonly keys: readonly string[]
  readonly args: readonly (string | Buffer)[]
}

/** One that answers as it is told: late, so that nobody waits for it any more, where there is a `late`. */
function answering(isSpread: boolean, answer: (sent: Sent) => Reply | undefined, late?: Reply) {
  const sent: Sent[] = []
  const redis: Redis = {
    ...{ isThere: true, isConnected: true, isSpread, started: Promise.resolve() },
    async run(program, keys, args, tooLate) {
      if (late !== undefined) queueMicrotask(() => tooLate?.(late))
      return answer({ script: program, keys, args })
    },
    send: (program, keys, args) => void sent.push({ script: program, keys, args }),
    close: () => Promise.resolve(),
  }
  return { store: createSharedStore(redis), sent }
}

const CLAIMED = [1, 1_000, [null], [null]]
const HELD = [2, 1_000, [null], [null]]

test('a claim that came too late is given back', async () => {
  const { store, sent } = answering(false, () => undefined, CLAIMED)
  assert.equal(await store.take(LOOK), undefined)
  assert.deepEqual(
    sent.map(({ keys, args }) => [keys, args]),
    [[['behalf:claim:{name}'], ['me']]],
  )
})

test("an answer that came too late and is nobody's claim gives nothing back", async () => {
  const { store, sent } = answering(false, () => undefined, HELD)
  assert.equal(await store.take(LOOK), undefined)
  assert.deepEqual(sent, [])
})

test('in a Cluster, a claim is given back where the marks cannot be had', async () => {
  const found = [1, 1_000, [null], []]
  const all = answering(true, ({ keys }) => (keys.length === 2 ? found : null))
  assert.deepEqual(await all.store.take(LOOK), {
    ...{ claim: 'mine', at: 1_000, values: [undefined], marks: [0] },
  })
  assert.deepEqual(all.sent, [])
  const part = answering(true, ({ keys }) => (keys.length === 2 ? found : undefined))
  assert.equal(await part.store.take(LOOK), undefined)
  assert.deepEqual(part.sent[0]?.keys, ['behalf:claim:{name}'])
})

test('in a Cluster a mark reaches as far as clocks may differ', async () => {
  const found = [0, 5_000, [Buffer.from('value')], []]
  const mark = Buffer.from('4000')
  const answer = ({ keys }: Sent): Reply => (keys.length === 2 ? found : mark)
  const taken = await answering(true, answer).store.take(LOOK)
  assert.deepEqual(taken?.marks, [6_000])
})

for (const [isSpread, commands] of [
  [false, 1],
  [true, 3],
] as const) {
  test(`a look-up of two keys is ${commands} at once${isSpread ? ' in a Cluster' : ''}`, async () => {
    const asked: string[][] = []
    const { store } = answering(isSpread, ({ keys }) => {
      asked.push([...keys])
      return undefined
    })
    await store.take({ ...LOOK, names: [NAME, 'behalf:entry:{other}'] })
    assert.equal(asked.length, commands)
    for (const keys of asked) {
      if (isSpread) assert.equal(new Set(keys.map(slotOf)).size, 1, keys.join())
    }
  })
}

test('what one script takes is in one slot of a Cluster', () => {
  const [name = ''] = createSeals([Buffer.from('0123456789abcdef0123456789abcdef')]).names('key')
  assert.equal(slotOf(name), slotOf(name.replace('entry', 'claim')))
  assert.equal(slotOf('behalf:{purges}'), slotOf('behalf:{purges}:count'))
})

// As `CLUSTER KEYSLOT` answers.
for (const [key, slot] of [
  ['foo', 12182],
  ['{user1000}.following', 3443],
  ['foo{}{bar}', 8363],
  ['foo{{bar}}zap', 4015],
  ['foo{bar}{zap}', 5061],
  ['123456789', 12739],
] as const) {
  test(`${key} is of slot ${slot}`, () => assert.equal(slotOf(key), slot))
}

test(
  'a process that is busy does not take an answer for late that had no time to come',
  { skip: NO_REDIS },
  async (t) => {
    const server = await startRedis(t)
    const address = { host: '127.0.0.1', port: server.port }
    const redis = createRedis({ servers: { kind: 'single', address }, timeoutMs: 1_000 })
    t.after(() => redis.close())
    await redis.started
    const one = script('return 1')
    assert.equal(await redis.run(one, [], []), 1)
    server.pause()
    const asked = redis.run(one, [], [])
    // Longer than the bound; it looks at its sockets again and again, and there is nothing yet.
    for (let turn = 0; turn < 6; turn++) {
      busy(300)
      await new Promise((resolve) => setImmediate(resolve))
    }
    server.resume()
    assert.equal(await asked, 1)
  },
)

test('an answer that does not come is not waited for', { skip: NO_REDIS }, async (t) => {
  const server = await startRedis(t)
  const address = { host: '127.0.0.1', port: server.port }
  const redis = createRedis({ servers: { kind: 'single', address }, timeoutMs: 20 })
  t.after(() => redis.close())
  await redis.started
  server.pause()
  let tell = (_reply: Reply): void => undefined
  const late = new Promise<Reply>((resolve) => (tell = resolve))
  assert.equal(await redis.run(script('return 7'), [], [], tell), undefined)
  server.resume()
  assert.equal(await late, 7)
})

function busy(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}
