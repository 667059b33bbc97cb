import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import fc from 'fast-check'
import { createRedis, type Reply } from '../../src/store/redis.ts'
import { script } from '../../src/store/shared.ts'
import {
  createSharedTurns,
  type Given,
  type Need,
  type SharedTurns,
  turnsScript,
} from '../../src/store/turns.ts'
import { allow, NO_REDIS, PASSWORD, type RedisServer, startRedis, until } from '../redis.ts'
import { ModelBudget } from '../turns.ts'

const NOW = 1_800_000_000_000
const bounded = { skip: NO_REDIS, timeout: 120_000 }

let server: RedisServer
/** By a time that the test moves, and by Redis' own. */
let moved: SharedTurns
let own: SharedTurns
let issuers = 0
const ends: (() => unknown)[] = []

before(async () => {
  if (NO_REDIS !== false) return
  server = await startRedis({ after: (end) => void ends.push(end) })
  await allow(server)
  const address = { host: '127.0.0.1', port: server.port }
  // As who may do what the list of commands says, and in no hurry.
  const redis = createRedis({
    servers: { kind: 'single', address },
    ...{ user: 'behalf', password: PASSWORD, timeoutMs: 10_000 },
  })
  ends.push(() => redis.close())
  await until('it is connected to', () => redis.isConnected)
  moved = createSharedTurns(
    redis,
    script(turnsScript(`{ 0, redis.call('GET', 'behalf:now') * 1000 }`)),
  )
  own = createSharedTurns(redis)
})
beforeEach(async () => {
  issuers++
  if (NO_REDIS === false) await server.command('FLUSHALL')
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

/** One that nobody else asked for. */
const issuer = (): string => `https://issuer-${issuers}.example/`

async function ask(at: number, more: Partial<Need> = {}): Promise<Given> {
  await server.command('SET', 'behalf:now', String(at))
  const given = await moved.ask(issuer(), need(more))
  assert.ok(given !== undefined)
  return given
}

function need(more: Partial<Need> = {}): Need {
  return {
    ...{ replica: 'a', rate: 8, burst: 1, callers: [], replicas: 1, wasAlone: false },
    ...{ line: { told: 0, coming: 0, background: 0 }, pauseMs: 0, seconds: 0 },
    ...more,
  }
}

const coming = (many: number): Pick<Need, 'line'> => ({
  line: { told: 0, coming: many, background: 0 },
})
const caller = (name: string, as: Need['callers'][number]['as']): Need['callers'][number] => ({
  ...{ name, as, jitterMs: 0 },
})

/** In what order replicas are told of is nothing that counts. */
function inOrder(given: Given): Given {
  const others = given.others.toSorted((one, other) => rankOf(one) - rankOf(other))
  return { ...given, others }
}
const rankOf = ({ told, coming, background }: Given['others'][number]): number =>
  told * 1e6 + coming * 1e3 + background

const counts = fc.constantFrom(0, 0, 1, 2, 7, 40)
const callers = fc.array(
  fc.record({
    name: fc.constantFrom('', 'u', 'v', 'w', 'x', 'y', 'z'),
    as: fc.constantFrom('waits' as const, 'late' as const, 'sent' as const),
    jitterMs: fc.integer({ min: 0, max: 999 }),
  }),
  { maxLength: 4 },
)
const step = fc.record({
  afterMs: fc.constantFrom(0, 1, 3, 40, 125, 250, 499, 500, 2_900, 5_100, 30_000),
  replica: fc.constantFrom('a', 'b', 'c'),
  line: fc.record({ told: counts, coming: counts, background: counts }),
  callers,
  wasAlone: fc.constantFrom(false, false, false, true),
  pauseMs: fc.constantFrom(0, 0, 0, 0, 700, 4_000, 90_000),
  seconds: fc.integer({ min: 0, max: 12 }),
})

test(
  'whatever replicas ask, the script gives what a bucket by its level gives',
  bounded,
  async () => {
    await fc.assert(
      fc.asyncProperty(
        // A turn lasts whole milliseconds: what is rounded elsewhere is not compared here.
        fc.constantFrom(1, 2, 8, 10, 40, 200, undefined),
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom(1, 2),
        fc.array(step, { minLength: 10, maxLength: 30 }),
        async (rate, burst, replicas, steps) => {
          issuers++
          const model = new ModelBudget()
          let at = NOW
          for (const { afterMs, ...one } of steps) {
            at += afterMs
            const waits = one.callers.filter(({ as }) => as === 'waits').length
            const line = { ...one.line, coming: one.line.coming + waits }
            const wanted = need({ ...one, line, rate, burst, replicas })
            const { kept, ...given } = inOrder(await ask(at, wanted))
            const { kept: keptToo, ...expected } = inOrder(model.ask(at, wanted))
            assert.deepEqual(given, expected)
            assert.ok(Math.abs(kept - keptToo) < 0.005, `${kept} kept, not ${keptToo}`)
          }
        },
      ),
      { numRuns: 60 },
    )
  },
)

test('no more turns begin than the budget has, whoever asks', bounded, async () => {
  const rates = fc.constantFrom(1, 3, 8, 30, 200)
  await fc.assert(
    fc.asyncProperty(
      rates,
      fc.integer({ min: 1, max: 5 }),
      fc.array(step, { minLength: 10, maxLength: 30 }),
      async (rate, burst, steps) => {
        issuers++
        const begins: number[] = []
        let at = NOW
        for (const { afterMs, ...one } of steps) {
          at += afterMs
          const { turns } = await ask(at, need({ ...one, callers: [], rate, burst, replicas: 3 }))
          assert.ok(turns.every((ms) => ms >= 0 && ms <= 251))
          begins.push(...turns.map((ms) => at + ms))
        }
        begins.sort((one, other) => one - other)
        const most = burst + Math.max(1, rate / 4)
        for (let from = 0; from < begins.length; from++) {
          for (let to = from; to < begins.length; to++) {
            const many = to - from + 1
            // Begins are rounded up.
            const may = most + ((begins[to]! - begins[from]! + 1) * rate) / 1_000
            assert.ok(many <= may + 1e-6, `${many} begin where ${may} may`)
          }
        }
      },
    ),
    { numRuns: 60 },
  )
})

test('replicas that ask in turn get the whole budget, evenly', bounded, async () => {
  const had = new Map<string, number>()
  for (let ms = 0; ms < 10_000; ms += 50) {
    const replica = 'abcd'[(ms / 50) % 4]!
    const { turns } = await ask(NOW + ms, { replica, ...coming(10) })
    had.set(replica, (had.get(replica) ?? 0) + turns.length)
  }
  const all = [...had.values()].reduce((sum, many) => sum + many, 0)
  // Those that begin in the quarter of a second after it are given away, too.
  assert.equal(all, 1 + 8 * 10 + 1)
  assert.ok(
    [...had.values()].every((many) => many > 10),
    `${[...had.values()].join(', ')} turns`,
  )
})

test(
  'turns are given a quarter of a second ahead: what a dead replica takes with it',
  bounded,
  async () => {
    const first = await ask(NOW, coming(100))
    assert.deepEqual(first.turns, [0, 125, 250])
    assert.deepEqual((await ask(NOW + 100, { replica: 'b', ...coming(1) })).turns, [])
    assert.deepEqual((await ask(NOW + 125, { replica: 'b', ...coming(1) })).turns, [250])
  },
)

test(
  'who was told to come goes before who comes elsewhere, and that before what nobody waits for',
  bounded,
  async () => {
    await ask(NOW, { ...coming(3) })
    await ask(NOW + 10, { replica: 'b', line: { told: 1, coming: 1, background: 0 } })
    const yields = await ask(NOW + 130, { replica: 'c', ...coming(1) })
    assert.deepEqual(yields.turns, [], 'the only turn is of who was told')
    const background = { told: 0, coming: 0, background: 1 }
    assert.deepEqual((await ask(NOW + 250, { replica: 'd', line: background })).turns, [])
    const served = await ask(NOW + 251, {
      replica: 'b',
      line: { told: 1, coming: 1, background: 0 },
    })
    assert.deepEqual(served.turns, [124], 'the one after it is of who waits elsewhere')
    await ask(NOW + 260, { replica: 'c' })
    assert.equal((await ask(NOW + 390, { replica: 'd', line: background })).turns.length, 1)
  },
)

test(
  'a replica that died with somebody waiting holds nobody up for longer than half a second',
  bounded,
  async () => {
    await ask(NOW, { replica: 'dead', line: { told: 50, coming: 0, background: 0 } })
    assert.deepEqual((await ask(NOW + 499, coming(1))).turns, [])
    assert.equal((await ask(NOW + 500, coming(1))).turns.length, 1)
  },
)

test(
  'a pause that one replica was told of stops all, and what comes after it is paced',
  bounded,
  async () => {
    assert.equal((await ask(NOW, { pauseMs: 3_000 })).pauseMs, 3_000)
    const during = await ask(NOW + 1_000, { replica: 'b', ...coming(5) })
    assert.deepEqual([during.turns, during.pauseMs], [[], 2_000])
    // A shorter one does not end it.
    assert.equal((await ask(NOW + 1_500, { replica: 'c', pauseMs: 100 })).pauseMs, 1_500)
    const towards = await ask(NOW + 2_800, { replica: 'b', ...coming(5) })
    assert.deepEqual(towards.turns, [200])
    assert.deepEqual((await ask(NOW + 3_000, { replica: 'b', ...coming(5) })).turns, [125, 250])
  },
)

test('a pause also stops what has no budget', bounded, async () => {
  assert.equal((await ask(NOW, { rate: undefined, ...coming(700) })).turns.length, 700)
  await ask(NOW, { rate: undefined, pauseMs: 1_000 })
  assert.deepEqual(
    (await ask(NOW + 700, { rate: undefined, replica: 'b', ...coming(2) })).turns,
    [],
  )
  const after = await ask(NOW + 900, { rate: undefined, replica: 'b', ...coming(2) })
  assert.deepEqual(after.turns, [100, 100])
})

test(
  'what is told is the length of the line of all replicas, and goes on where another told',
  bounded,
  async () => {
    await ask(NOW, coming(1))
    const first = await ask(NOW, {
      replica: 'b',
      callers: [caller('u', 'late'), caller('v', 'late')],
    })
    const other = await ask(NOW, {
      replica: 'c',
      callers: Array.from('abcdefg', (one) => caller(one, 'late')),
    })
    assert.deepEqual(first.callers, [1, 1])
    assert.deepEqual(other.callers, [1, 1, 1, 1, 1, 1, 2])
  },
)

test('who comes when told goes first at any replica, and not twice', bounded, async () => {
  await ask(NOW, { callers: [caller('u', 'late')] })
  const early = await ask(NOW + 100, { replica: 'b', callers: [caller('u', 'late')] })
  assert.deepEqual(early.callers, [1], 'what is left of its time, and its place is kept')
  const due = await ask(NOW + 1_000, { replica: 'c', callers: [caller('u', 'late')] })
  assert.deepEqual([due.callers, due.turns], [['due'], [0]])
  const again = await ask(NOW + 1_001, {
    replica: 'd',
    callers: [caller('u', 'waits')],
    ...coming(1),
  })
  assert.deepEqual(again.callers, ['waits'])
})

test(
  'a place is kept for five seconds, and then counts as one who did not come',
  bounded,
  async () => {
    await ask(NOW, { callers: [caller('u', 'late')] })
    assert.equal((await ask(NOW + 5_999, { seconds: 1 })).promised[0], 1)
    const after = await ask(NOW + 6_000, { callers: [caller('u', 'waits')], ...coming(1) })
    assert.deepEqual([after.callers, after.kept], [['waits'], 0.95])
  },
)

test(
  'at a minute the line ends: no place is promised there, and so no more are kept',
  bounded,
  async () => {
    const many = Array.from({ length: 500 }, (_, at) => caller(`user ${at}`, 'late'))
    const { callers: told } = await ask(NOW, { rate: 2, callers: many })
    assert.deepEqual([told[0], told.at(-1)], [1, 60])
    const { promised } = await ask(NOW, { seconds: 60 })
    assert.equal(
      promised.reduce((sum, one) => sum + one, 0),
      told.filter((seconds) => seconds !== 60).length,
    )
  },
)

test(
  'while replicas come back from shares of their own, those that are missing keep theirs',
  bounded,
  async () => {
    const rates: number[] = []
    for (const [at, more] of [
      [0, { replica: 'a', wasAlone: true }],
      [10, { replica: 'b', wasAlone: true }],
      [20, { replica: 'c' }],
      [30, { replica: 'd' }],
      [3_000, { replica: 'a' }],
      [3_010, { replica: 'a' }],
    ] as const) {
      rates.push(1_000 / (await ask(NOW + at, { replicas: 4, ...more })).everyMs)
    }
    assert.deepEqual(rates.map(Math.round), [2, 4, 6, 8, 2, 8])
  },
)

test(
  'a clock that is set back, as that of another server may be, costs no more than a lease',
  bounded,
  async () => {
    await ask(NOW, coming(3))
    const { turns } = await ask(NOW - 3_600_000, coming(1))
    assert.deepEqual(turns, [])
    assert.equal((await ask(NOW - 3_600_000 + 375, coming(1))).turns.length, 1)
  },
)

test('what nobody asks for is forgotten, and begins as a full bucket', bounded, async () => {
  await own.ask(issuer(), need({ burst: 3, callers: [caller('u', 'late')] }))
  const keys = (await server.command('KEYS', 'behalf:*')) as string[]
  const left = await Promise.all(keys.map((key) => server.command('PTTL', key)))
  assert.equal(
    keys.filter((key, at) => key !== 'behalf:now' && !(Number(left[at]) > 60_000)).length,
    0,
  )
  for (const key of keys) assert.match(key, /^behalf:(now|(budget|told):\{[0-9a-f]{32}\})$/)
  await server.command('FLUSHALL')
  const { turns } = (await own.ask(issuer(), need({ burst: 3, ...coming(9) })))!
  assert.deepEqual(turns.slice(0, 3), [0, 0, 0])
})

test("by Redis' own clock a turn is a turn later", bounded, async () => {
  const first = (await own.ask(issuer(), need({ rate: 1, ...coming(1) })))!
  assert.deepEqual(first.turns, [0])
  const second = (await own.ask(issuer(), need({ rate: 1, ...coming(1) })))!
  assert.deepEqual(second.turns, [])
  assert.ok(second.fullMs > 0 && second.fullMs <= 1_000)
})

test('what cannot be read of a replica is forgotten', bounded, async () => {
  await ask(NOW, coming(3))
  const [key] = (await server.command('KEYS', 'behalf:budget:*')) as string[]
  await server.command('HSET', key!, 'r:strange', 'something else', 'r:older', '1 2 3 4')
  assert.deepEqual((await ask(NOW + 125, coming(1))).others, [])
  assert.equal(await server.command('HEXISTS', key!, 'r:strange'), 0)
})

test('whoever writes to Redis stops nobody for longer than a minute at a time', async () => {
  const reply = [[], [90_000], [], [], 90_000_000, 0, 125_000, 1_000]
  const turns = createSharedTurns({ run: () => Promise.resolve(reply) })
  const given = await turns.ask('https://issuer.example/', need({ callers: [caller('u', 'late')] }))
  assert.deepEqual([given?.pauseMs, given?.callers], [60_000, [60]])
})

for (const [what, reply] of [
  ['no answer', undefined],
  ['an error', null],
  ['a word', 'OK'],
  ['fewer parts', [[], []]],
  ['words for numbers', [['x'], [], [], [], 0, 0, 0, 0]],
  ['words for times', [[], [], [], [], 0, 'x', 0, 0]],
  ['an answer to other callers', [[], [1], [], [], 0, 0, 0, 0]],
] as const) {
  test(`${what} is no turn`, async () => {
    const turns = createSharedTurns({ run: () => Promise.resolve(reply as Reply) })
    assert.equal(await turns.ask('https://issuer.example/', need(coming(1))), undefined)
  })
}
