/* Workers and the process that they came from, in one process and in a time that is moved by hand. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import type { SharedBucket } from '../../src/exchange/between.ts'
import { shareOf } from '../../src/exchange/bucket.ts'
import { createHostBucket } from '../../src/exchange/host-bucket.ts'
import type { Turn } from '../../src/exchange/line.ts'
import { asking } from '../../src/server/channel.ts'
import {
  createHost,
  type Host,
  type HostBudget,
  hostBudgetOf,
  type HostProtocol,
  type Paused,
} from '../../src/server/host.ts'
import { createPrimary, type Primary } from '../../src/server/primary.ts'
import { createMemoryReplayStore, ReplaysFull, ReplaysUnknown } from '../../src/store/replay.ts'
import { createLimiter } from '../../src/tenant/limiter.ts'
import { leftOf, MINUTE, NOW, take as takeOf, type Taker, toldOf } from '../exchange/takers.ts'
import { disconnect, type End, pair } from './peers.ts'

const RATE = 8

interface Worker {
  readonly bucket: SharedBucket
  readonly primary: Primary
  readonly noticed: string[]
  /** Of the primary, and its own. */
  readonly ends: readonly [End, End]
  /** Turns of its own share. */
  alone: number
}

interface World {
  readonly host: Host
  readonly workers: readonly Worker[]
  readonly of: HostBudget
  /** Nothing of the primary reaches the workers, and nothing of theirs the primary. */
  silence(): void
  mend(): void
  pass(ms: number, stepMs?: number): Promise<void>
}

interface Options {
  readonly workers?: number
  readonly rate?: number | undefined
  readonly burst?: number
  /** How many proofs the primary has room for. */
  readonly proofs?: number
}

function world(context: TestContext, options: Options = {}): World {
  const { workers: many = 2, burst = 1, proofs } = options
  const rate = 'rate' in options ? options.rate : RATE
  context.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
  const budget = rate === undefined ? undefined : { rate, burst }
  const of: HostBudget = { name: 'the bucket of the tests', share: budget }
  const workers: Worker[] = []
  const host = createHost({
    tell: (paused: Paused) => workers.forEach(({ primary }) => primary.paused(paused)),
    replays: createMemoryReplayStore(proofs === undefined ? {} : { maxEntries: proofs }),
    random: () => 0,
  })
  for (let number = 0; number < many; number++) {
    const ends = pair()
    host.answer(ends[0])
    const noticed: string[] = []
    const primary = createPrimary(asking<HostProtocol>(ends[1], true), {
      noticed: (state) => noticed.push(state),
    })
    const bucket = createHostBucket({
      elsewhere: primary.bucket(of),
      share: budget && shareOf(budget, many),
      spent: () => workers[number]!.alone++,
      random: () => 0,
    })
    context.after(() => bucket.close())
    workers.push({ bucket, primary, noticed, ends, alone: 0 })
  }
  const ends = (): readonly End[] => workers.flatMap((worker) => worker.ends)
  return {
    ...{ host, workers, of },
    silence: () => ends().forEach((one) => one.stop()),
    mend: () => ends().forEach((one) => one.resume()),
    async pass(ms, stepMs = 5) {
      await settled()
      for (let at = 0; at < ms; at += stepMs) {
        context.mock.timers.tick(stepMs)
        await settled()
      }
    },
  }
}

/** Enough for a question and its answer. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise(setImmediate)
}

function take(worker: Worker | undefined, more: Partial<Turn> & { patience?: number } = {}): Taker {
  const { patience, ...rest } = more
  return takeOf(worker!.bucket, patience, rest)
}

const leftSorted = (takers: readonly Taker[]): number[] =>
  takers.flatMap(({ left }) => left ?? []).toSorted((one, other) => one - other)

/** A tenant that allows this rate, and so many at once, would have let all of them through. */
function assertWithin(left: readonly number[], burst: number): void {
  let now = 0
  const limiter = createLimiter({ rate: RATE, burst }, () => now)
  for (now of left) assert.ok(limiter.take().allowed, `one too many at ${now} ms`)
}

test('workers have one pace together, and leave in the order in which they came', async (context) => {
  const { workers, pass } = world(context)
  const takers = [0, 1, 1, 0, 1, 0].map((number) => take(workers[number]))
  await pass(1_000)
  assert.deepEqual(leftOf(takers), [0, 125, 250, 375, 500, 625])
  assert.deepEqual(
    workers.map(({ alone }) => alone),
    [0, 0],
  )
})

test('an exchange that may leave at once costs one question and one answer', async (context) => {
  const { workers, pass } = world(context, { rate: undefined })
  const [{ ends }] = workers as [Worker]
  await pass(0)
  const before = [ends[0].sent, ends[1].sent]
  const takers = [1, 2, 3].map(() => take(workers[0]))
  await pass(0)
  assert.deepEqual(leftOf(takers), [0, 0, 0])
  assert.deepEqual([ends[0].sent - before[0]!, ends[1].sent - before[1]!], [3, 3])
  await pass(10_000)
  assert.equal(ends[0].sent - before[0]!, 3, 'nobody asks while nobody waits')
})

test('nothing but its key and its deadline is told of a request', async (context) => {
  const { workers, of, pass } = world(context)
  const told: { readonly ask?: unknown; readonly what?: unknown }[] = []
  workers[0]!.ends[0].on('message', (message) => told.push(message as object))
  take(workers[0], { key: 'a hash', background: true })
  await pass(0)
  const [{ what } = {}] = told.filter(({ ask }) => ask === 'take')
  const { place, ...rest } = what as { readonly place: object }
  assert.deepEqual(rest, { of })
  const { number, ...known } = place as { readonly number: number }
  assert.equal(typeof number, 'number')
  assert.deepEqual(known, {
    ...{ deadline: NOW + MINUTE, key: 'a hash', background: true, wasAlone: false },
  })
})

test('what nobody waits for goes after those who wait at another worker', async (context) => {
  const { workers, pass } = world(context)
  take(workers[0])
  const renewal = take(workers[0], { background: true })
  const waiting = [take(workers[1]), take(workers[1])]
  await pass(500)
  assert.deepEqual([leftOf(waiting), renewal.left], [[125, 250], 375])
})

test('who was told to come goes first at any worker', async (context) => {
  const { workers, pass } = world(context, { rate: 1 })
  take(workers[0])
  await pass(5)
  const told = take(workers[0], { key: 'told', patience: 500 })
  await pass(5)
  assert.equal(toldOf(told), 1)
  const waiting = [take(workers[0]), take(workers[1]), take(workers[0])]
  await pass(1_100)
  const back = take(workers[1], { key: 'told' })
  await pass(3_000)
  assert.equal(back.left, 2_000)
  assert.deepEqual(leftOf(waiting), [1_000, 3_000, 4_000])
})

test('who cannot be served in time is told so at once, and when: the line of all workers is one', async (context) => {
  const { workers, pass } = world(context)
  for (const worker of workers) for (let at = 0; at < 40; at++) take(worker)
  await pass(5)
  const late = take(workers[1], { key: 'late', patience: 2_000 })
  await pass(0)
  assert.equal(toldOf(late), 10)
  const renewal = take(workers[1], { background: true, patience: 2_000 })
  await pass(0)
  assert.equal(toldOf(renewal), 10)
  const patient = take(workers[1], { patience: 12_000 })
  await pass(0)
  assert.equal(patient.failure, undefined)
})

test('whoever leaves gives its place to the next, at another worker', async (context) => {
  const { workers, pass } = world(context)
  const [first, second, third] = [take(workers[0]), take(workers[0]), take(workers[1])]
  await pass(50)
  second.controller.abort(new Error('the caller left'))
  await pass(0)
  assert.match(String(second.failure), /the caller left/)
  await pass(100)
  assert.deepEqual(leftOf([first, third]), [0, 125])
  const gone = take(workers[0])
  gone.controller.abort(new Error('before it was asked'))
  await pass(1_000)
  assert.match(String(gone.failure), /before it was asked/)
  assert.equal(gone.left, undefined)
})

test('a worker that dies gives up its places in line', async (context) => {
  const { workers, pass } = world(context)
  for (let at = 0; at < 40; at++) take(workers[0])
  const other = take(workers[1])
  await pass(10)
  disconnect(...workers[0]!.ends)
  await pass(240)
  assert.equal(other.left, 125)
})

test('a worker whose primary dies goes on with its own share, from nothing', async (context) => {
  const { workers, pass } = world(context)
  const [worker] = workers
  const takers = [1, 2, 3, 4].map(() => take(worker))
  await pass(130)
  disconnect(...worker!.ends)
  await pass(1_000)
  // Four in a second.
  assert.deepEqual(leftOf(takers), [0, 125, 380, 630])
  assert.deepEqual(worker!.noticed, ['silent'])
  await pass(5_000)
  const later = take(worker, { patience: 10 })
  await pass(0)
  assert.equal(later.left, 6_130, 'what it saved up since')
  const hasty = take(worker, { patience: 10 })
  await pass(0)
  assert.equal(toldOf(hasty), 1)
})

test('a pause that one worker is told of stops the others, also those who wait', async (context) => {
  const { workers, pass } = world(context, { burst: 8 })
  workers[0]!.bucket.pauseFor(3_000)
  await pass(5)
  const takers = workers.map((worker) => take(worker))
  const hasty = take(workers[1], { patience: 1_000 })
  await pass(0)
  assert.equal(toldOf(hasty), 3)
  await pass(2_990)
  assert.deepEqual(leftOf(takers), [undefined, undefined])
  await pass(20)
  assert.deepEqual(leftOf(takers), [3_000, 3_000])
})

test('without a budget nobody waits, and a pause stops all', async (context) => {
  const { workers, pass } = world(context, { rate: undefined })
  const many = Array.from({ length: 50 }, (_, at) => take(workers[at % 2]))
  await pass(0)
  assert.ok(many.every(({ left }) => left === 0))
  workers[1]!.bucket.pauseFor(2_000)
  await pass(5)
  const paused = workers.map((worker) => take(worker))
  await pass(1_990)
  assert.deepEqual(leftOf(paused), [undefined, undefined])
  await pass(10)
  assert.deepEqual(leftOf(paused), [2_000, 2_000])
})

test('a pause holds where its worker tells it and dies, and where the primary is silent then', async (context) => {
  const { workers, pass, silence } = world(context, { workers: 3, burst: 8 })
  workers[0]!.bucket.pauseFor(4_000)
  await pass(5)
  disconnect(...workers[0]!.ends)
  const waiting = take(workers[1])
  silence()
  await pass(1_100)
  assert.deepEqual(workers[1]!.noticed, ['silent'])
  const later = take(workers[2])
  await pass(2_880)
  assert.deepEqual(leftOf([waiting, later]), [undefined, undefined])
  await pass(1_000)
  assert.ok([waiting, later].every(({ left }) => left! >= 4_000))
})

test('a pause that the primary did not hear holds where it was told, and is heard in the end', async (context) => {
  const { workers, pass, silence, mend } = world(context)
  silence()
  take(workers[0])
  await pass(1_200)
  assert.deepEqual(workers[0]!.noticed, ['silent'])
  workers[0]!.bucket.pauseFor(5_000)
  const own = take(workers[0])
  await pass(1_000)
  mend()
  await pass(300)
  const other = take(workers[1])
  await pass(3_600)
  assert.deepEqual(leftOf([own, other]), [undefined, undefined])
  await pass(600)
  assert.ok([own, other].every(({ left }) => left! >= 6_200))
})

test('what a request was promised after it was throttled is known at each worker', async (context) => {
  const { workers, pass } = world(context, { rate: 1 })
  workers[0]!.bucket.pauseFor(4_000)
  const told = workers[0]!.bucket.promise('throttled')
  await pass(5)
  assert.equal(await told, 4)
  for (let at = 0; at < 30; at++) take(workers[1])
  await pass(3_900)
  const back = take(workers[1], { key: 'throttled', patience: 1_500 })
  await pass(1_500)
  assert.equal(back.left, 4_000)
})

test('a silent primary is missed within a second: who waits waits on, for a share that begins with nothing', async (context) => {
  const { workers, pass, silence } = world(context, { burst: 4 })
  const takers = workers.flatMap((worker) => Array.from({ length: 20 }, () => take(worker)))
  await pass(250)
  assert.deepEqual(leftSorted(takers), [0, 0, 0, 0, 125, 250])
  silence()
  await pass(3_000)
  assert.ok(takers.every(({ failure }) => failure === undefined))
  const alone = leftSorted(takers).slice(6)
  assert.ok(alone[0]! > 1_250, `${alone[0]} is too soon`)
  assert.ok(alone[0]! <= 1_600, `${alone[0]} is too late`)
  assert.ok(alone.length >= 13 && alone.length <= 17, `${alone.length} left in two seconds`)
  assert.equal(workers[0]!.alone + workers[1]!.alone, alone.length)
  assert.ok(workers.every(({ bucket }) => !bucket.isShared))
})

test('when the primary is heard again the pace is one, and was never more than the budget', async (context) => {
  const { workers, pass, silence, mend } = world(context)
  const takers = workers.flatMap((worker) => Array.from({ length: 60 }, () => take(worker)))
  await pass(1_000)
  for (let at = 0; at < 3; at++) {
    silence()
    await pass(2_000)
    mend()
    await pass(1_000)
  }
  assert.deepEqual(workers[0]!.noticed, ['silent', 'there', 'silent', 'there', 'silent', 'there'])
  assert.ok(workers.every(({ bucket }) => bucket.isShared))
  await pass(3_000)
  const left = leftSorted(takers)
  assertWithin(left, 2)
  const last = left.filter((at) => at > 10_000 && at <= 13_000)
  assert.equal(last.length, 24)
  assert.ok(takers.every(({ failure }) => failure === undefined))
})

test('what was saved up during the silence is not spent on top of the shares', async (context) => {
  const { workers, pass, silence, mend } = world(context, { burst: 4 })
  silence()
  const takers = [take(workers[0])]
  await pass(1_200)
  takers.push(...Array.from({ length: 30 }, () => take(workers[0])))
  await pass(2_000)
  assert.ok(leftSorted(takers).length >= 6)
  mend()
  await pass(2_000)
  const after = leftSorted(takers).filter((at) => at >= 3_200)
  assert.ok(after[0]! > 3_300, `${after[0]} is too soon`)
  assert.ok(after.length >= 14 && after.length <= 16, `${after.length} left in two seconds`)
  assert.ok(workers.every(({ bucket }) => bucket.isShared))
})

test('who comes while the primary is silent keeps to its deadline', async (context) => {
  const { workers, pass, silence } = world(context, { rate: 0.1 })
  take(workers[0])
  await pass(5)
  silence()
  const first = take(workers[0], { patience: 2_000, key: 'first' })
  await pass(1_100)
  assert.ok(toldOf(first)! >= 10)
  const second = take(workers[0], { patience: 1_000, key: 'second' })
  await pass(0)
  assert.ok(toldOf(second)! >= 20, 'and is not waited for again')
})

test('who has no answer by its deadline is refused then, before the primary is known to be silent', async (context) => {
  const { workers, pass, silence } = world(context)
  silence()
  const [hasty, patient] = [take(workers[0], { patience: 300 }), take(workers[0])]
  await pass(300)
  assert.equal(hasty.failure, undefined)
  await pass(100)
  assert.equal(toldOf(hasty), 1)
  assert.deepEqual([workers[0]!.noticed, patient.failure], [[], undefined])
})

test('a long wait for a turn is no silence', async (context) => {
  const { workers, pass } = world(context, { rate: 0.1 })
  const takers = workers.map((worker) => take(worker))
  await pass(10_000, 10)
  assert.deepEqual(leftOf(takers), [0, 10_000])
  assert.deepEqual(
    workers.map(({ noticed }) => noticed),
    [[], []],
  )
})

test('a worker that is woken late takes what lies there for no silence, within five seconds', async (context) => {
  const { workers, pass, silence, mend } = world(context)
  silence()
  const patient = take(workers[0])
  await pass(4_500, 150)
  assert.deepEqual(workers[0]!.noticed, [])
  mend()
  await pass(150, 150)
  assert.ok(patient.left! >= 4_500)
  silence()
  const [other, held] = [take(workers[1]), take(workers[1])]
  await pass(6_000, 150)
  assert.deepEqual(workers[1]!.noticed, ['silent'])
  assert.ok([other, held].every(({ left, failure }) => left !== undefined && failure === undefined))
})

test('who comes back takes what was saved up away once, not each time that somebody comes', async (context) => {
  const { workers, pass, silence, mend } = world(context)
  take(workers[0])
  await pass(5)
  silence()
  take(workers[0])
  await pass(1_500)
  assert.equal(workers[0]!.alone, 1)
  mend()
  // Whoever asks finds it.
  const takers = [take(workers[0])]
  await pass(150)
  assert.deepEqual(workers[0]!.noticed, ['silent', 'there'])
  for (let at = 0; at < 20; at++) {
    takers.push(take(workers[0]))
    await pass(50)
  }
  const served = leftSorted(takers).filter((at) => at > 1_655)
  assert.ok(served.length >= 7, `${served.length} were served in a second`)
})

test('how much is there is what the primary says', async (context) => {
  const { host, workers, of, pass } = world(context, { burst: 4 })
  assert.equal(workers[0]!.bucket.available, 4)
  take(workers[0])
  await pass(0)
  const available = host.available()
  assert.deepEqual(available, { [of.name]: 3 })
  for (const { primary } of workers) primary.available(available)
  assert.deepEqual(
    workers.map(({ bucket }) => bucket.available),
    [3, 3],
  )
})

type Given = Pick<Config, 'issuers' | 'server'>

function configOf(rate: number | undefined, replicas: number): Given {
  const budget = rate === undefined ? undefined : { rate, burst: 4 }
  const issuers = [{ name: 'tenant', identifiers: ['https://tenant.example/'], budget }]
  return { issuers, server: { replicas, workers: 2 } } as unknown as Given
}

test('a bucket is as full as it was with another configuration, unless it is of another size', async (context) => {
  const { host, workers, pass } = world(context)
  const spendAll = async (config: Given): Promise<number> => {
    const of = hostBudgetOf(config.issuers[0]!, config.server)
    const { primary } = workers[0]!
    const bucket = createHostBucket({
      ...{ elsewhere: primary.bucket(of), share: of.share, spent: () => undefined },
    })
    let spent = 0
    for (let at = 0; at < 10; at++) {
      const turn = { signal: new AbortController().signal, deadline: Date.now() }
      bucket.take(turn).then(
        () => spent++,
        () => undefined,
      )
    }
    await pass(0)
    return spent
  }
  const first = configOf(1, 1)
  assert.equal(await spendAll(first), 4)
  host.keep(first as Config)
  assert.equal(await spendAll(configOf(1, 1)), 0)
  assert.equal(await spendAll(configOf(1, 2)), 2, 'half of the budget, of which half at once')
  host.keep(configOf(1, 2) as Config)
  assert.deepEqual(Object.values(host.available()), [0])
  assert.equal(await spendAll(configOf(2, 1)), 4)
})

test('who waits in a bucket that no configuration needs any more has its turn', async (context) => {
  const { host, workers, pass } = world(context)
  const takers = [take(workers[0]), take(workers[1])]
  await pass(5)
  host.keep(configOf(1, 1) as Config)
  await pass(120)
  assert.deepEqual(leftOf(takers), [0, 125])
})

const LATER = NOW + MINUTE

test('a proof that one worker took every other refuses', async (context) => {
  const { workers } = world(context)
  const [one, other] = workers.map(({ primary }) => primary.replays)
  assert.equal(await one!.isFirst('proof', LATER, 'key'), true)
  assert.equal(await other!.isFirst('proof', LATER, 'key'), false)
  assert.equal(await other!.isFirst('another', LATER, 'key'), true)
})

test('a key that used too much at all workers together is refused, and no other', async (context) => {
  const { workers } = world(context, { proofs: 4 })
  const [one, other] = workers.map(({ primary }) => primary.replays)
  assert.equal(await one!.isFirst('first', LATER, 'greedy'), true)
  assert.equal(await other!.isFirst('second', LATER, 'greedy'), true)
  await assert.rejects(async () => one!.isFirst('third', LATER, 'greedy'), ReplaysFull)
  assert.equal(await one!.isFirst('third', LATER, 'modest'), true)
})

test('a silent primary tells of no proof, at once when that is known, and does when it is back', async (context) => {
  const { workers, pass, silence, mend } = world(context)
  const { replays } = workers[0]!.primary
  silence()
  const refused = assert.rejects(async () => replays.isFirst('proof', LATER, 'key'), ReplaysUnknown)
  await pass(1_100)
  await refused
  await assert.rejects(async () => replays.isFirst('next', LATER, 'key'), ReplaysUnknown)
  mend()
  await pass(5)
  assert.equal(await replays.isFirst('next', LATER, 'key'), true)
  // The primary heard of it, late.
  assert.equal(await workers[1]!.primary.replays.isFirst('proof', LATER, 'key'), false)
})

test('where the primary is gone nobody can tell', async (context) => {
  const { workers } = world(context)
  const { ends, primary } = workers[0]!
  assert.equal(await primary.replays.isFirst('proof', LATER, 'key'), true)
  disconnect(...ends)
  await assert.rejects(async () => primary.replays.isFirst('other', LATER, 'key'), ReplaysUnknown)
})
