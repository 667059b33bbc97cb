import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMetrics, render } from '../../src/metrics.ts'
import { createReplays, type ReplaysOptions } from '../../src/server/replays.ts'
import {
  createMemoryReplayStore,
  ReplaysFull,
  type ReplayStore,
  ReplaysUnknown,
} from '../../src/store/replay.ts'

const LATER = Date.now() + 3_600_000

interface Known extends ReplayStore {
  /** What it was asked about. */
  readonly asked: string[]
}

function knowing(...used: readonly string[]): Known {
  const known = new Set(used)
  const asked: string[] = []
  return {
    asked,
    async isFirst(key) {
      asked.push(key)
      const isFirst = !known.has(key)
      known.add(key)
      return isFirst
    },
  }
}

function failing(failure: Error): ReplayStore {
  return { isFirst: () => Promise.reject(failure) }
}

interface Asked {
  readonly isFirst: (key: string, replay?: 'local') => Promise<boolean>
  counted(outcome: string): number
}

function replays(given: Omit<ReplaysOptions, 'metrics'>): Asked {
  const metrics = createMetrics()
  const storeOf = createReplays({ metrics, ...given })
  return {
    isFirst: async (key, replay) => storeOf({ replay }).isFirst(key, LATER, 'holder'),
    counted(outcome) {
      const line = `behalf_proofs_total{outcome="${outcome}"} `
      const lines = render(metrics.snapshot()).split('\n')
      return Number(lines.find((one) => one.startsWith(line))?.slice(line.length))
    },
  }
}

test('what this process knows it refuses by itself, what the host knows without asking Redis', async () => {
  const [host, shared] = [knowing('at the host'), knowing('at a replica')]
  const { isFirst, counted } = replays({ host, shared })
  assert.equal(await isFirst('new'), true)
  assert.equal(await isFirst('new'), false)
  assert.deepEqual([host.asked, shared.asked], [['new'], ['new']])
  assert.equal(await isFirst('at the host'), false)
  assert.deepEqual(shared.asked, ['new'])
  assert.equal(await isFirst('at a replica'), false)
  assert.deepEqual([counted('first'), counted('used')], [1, 3])
})

test('workers without Redis go by what their host knows', async () => {
  const { isFirst } = replays({ host: knowing('used') })
  assert.deepEqual([await isFirst('used'), await isFirst('new')], [false, true])
})

test('a host that is silent tells of no proof, whatever Redis says, unless the API takes them all the same', async () => {
  for (const shared of [undefined, knowing()]) {
    const { isFirst, counted } = replays({ host: failing(new ReplaysUnknown()), shared })
    await assert.rejects(isFirst('one'), { code: 'replay_store_unavailable' })
    assert.equal(await isFirst('other', 'local'), true)
    assert.equal(await isFirst('other', 'local'), false)
    assert.deepEqual([counted('unavailable'), counted('local'), counted('used')], [1, 1, 1])
  }
})

test('with `replay: local` whoever can be asked is asked', async () => {
  const silent = failing(new ReplaysUnknown())
  const withoutRedis = replays({ host: knowing('used'), shared: silent })
  assert.equal(await withoutRedis.isFirst('used', 'local'), false)
  assert.equal(await withoutRedis.isFirst('new', 'local'), true)
  await assert.rejects(withoutRedis.isFirst('other'), { code: 'replay_store_unavailable' })
  const withoutHost = replays({ host: silent, shared: knowing('used') })
  assert.equal(await withoutHost.isFirst('used', 'local'), false)
})

test('a key that used too much is refused by whoever knows, also with `replay: local`', async () => {
  const full = createMemoryReplayStore({ maxEntries: 0 })
  const local = replays({ local: full, host: knowing() })
  await assert.rejects(local.isFirst('one', 'local'), { code: 'replay_store_unavailable' })
  const host = replays({ host: failing(new ReplaysFull()), shared: knowing() })
  await assert.rejects(host.isFirst('one', 'local'), { code: 'replay_store_unavailable' })
})
