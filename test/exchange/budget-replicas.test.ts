import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { GatewayError } from '../../src/errors.ts'
import { createBucket } from '../../src/exchange/bucket.ts'
import { createHostBucket, type Elsewhere } from '../../src/exchange/host-bucket.ts'
import { createSharedBucket } from '../../src/exchange/shared-bucket.ts'
import { createLimiter } from '../../src/tenant/limiter.ts'
import { ModelTurns } from '../turns.ts'
import { leftOf, MINUTE, NOW, take, type Taker, toldOf } from './takers.ts'

const RATE = 8
const PATIENCE = 5_000

interface Options {
  readonly replicas?: number
  readonly rate?: number | undefined
  readonly burst?: number
}

/** Replicas with one budget, in a time that is moved by hand. What stands in for Redis can be taken away from each. */
function world(context: TestContext, options: Options = {}) {
  const { replicas = 4, burst = 1 } = options
  const rate = 'rate' in options ? options.rate : RATE
  context.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
  const turns = new ModelTurns(() => Date.now())
  const counted: Record<string, number> = {}
  const cut = new Set<number>()
  const buckets = Array.from({ length: replicas }, (_, number) =>
    createSharedBucket({
      ...{ budget: rate === undefined ? undefined : { rate, burst }, replicas },
      ask: async (need) => (cut.has(number) ? undefined : turns.ask('tenant', need)),
      nameOf: (key) => key,
      count: (outcome, many) => (counted[outcome] = (counted[outcome] ?? 0) + many),
      random: () => 0,
    }),
  )
  context.after(() => buckets.forEach((bucket) => bucket.close()))
  return {
    ...{ buckets, turns, counted },
    cut: (...numbers: number[]) => numbers.forEach((number) => cut.add(number)),
    mend: (...numbers: number[]) => numbers.forEach((number) => cut.delete(number)),
    async pass(ms: number, stepMs = 5) {
      await settled()
      for (let at = 0; at < ms; at += stepMs) {
        context.mock.timers.tick(stepMs)
        await settled()
      }
    },
  }
}

const ALL = [0, 1, 2, 3]

/** Enough for what is due to reach whoever waits for it. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await Promise.resolve()
}

const inOrder = (takers: readonly Taker[]): unknown[] =>
  leftOf(takers).toSorted((one, other) => Number(one) - Number(other))

test('one replica paces as if it were alone, and asks for all who come at once', async (context) => {
  const { buckets, pass, turns } = world(context)
  const takers = Array.from({ length: 4 }, () => take(buckets[0]))
  await pass(0)
  assert.ok(turns.asked <= 2, `asked ${turns.asked} times`)
  await pass(500)
  assert.deepEqual(leftOf(takers), [0, 125, 250, 375])
})

test('a turn that is there is had with one question, and nobody asks while nobody waits', async (context) => {
  const { buckets, pass, turns } = world(context)
  const taker = take(buckets[0])
  await pass(0)
  assert.deepEqual([taker.left, turns.asked], [0, 1])
  await pass(10_000)
  assert.equal(turns.asked, 1)
})

test('replicas have one pace together, and each has its part', async (context) => {
  const { buckets, pass } = world(context)
  const of = buckets.map((bucket) => Array.from({ length: 10 }, () => take(bucket)))
  await pass(2_500)
  const left = inOrder(of.flat()).filter((at) => at !== undefined)
  assert.deepEqual(
    left,
    Array.from({ length: 21 }, (_, turn) => turn * 125),
  )
  for (const takers of of) {
    const many = leftOf(takers).filter((at) => at !== undefined).length
    assert.ok(many >= 3, `${many} of 21 turns`)
  }
})

test('a replica that alone has somebody waiting has the whole budget', async (context) => {
  const { buckets, pass } = world(context)
  buckets.forEach((bucket) => take(bucket))
  await pass(1_000)
  const takers = Array.from({ length: 16 }, () => take(buckets[2]))
  await pass(2_000)
  assert.equal(leftOf(takers).filter((at) => at !== undefined).length, 16)
})

test('what one replica leaves over because it died another has after its lease', async (context) => {
  const { buckets, pass, cut } = world(context)
  const dead = Array.from({ length: 20 }, () => take(buckets[0]))
  await pass(10)
  // It neither asks nor leaves any more.
  cut(0)
  dead.forEach(({ controller }) => controller.abort())
  const takers = Array.from({ length: 20 }, () => take(buckets[1]))
  await pass(2_000)
  const left = leftOf(takers).filter((at) => at !== undefined)
  assert.equal(left[0], 375)
  assert.equal(left.length, 14)
})

test('whoever leaves gives its turn to the next', async (context) => {
  const { buckets, pass } = world(context)
  const [first, second, third] = [1, 2, 3].map(() => take(buckets[0]))
  await pass(50)
  second!.controller.abort(new Error('the caller left'))
  await pass(100)
  assert.deepEqual(leftOf([first!, third!]), [0, 125])
  assert.match(String(second!.failure), /the caller left/)
})

test('what nobody waits for goes after those who wait, also elsewhere', async (context) => {
  const { buckets, pass } = world(context)
  take(buckets[0])
  await pass(5)
  const renewal = take(buckets[0], MINUTE, { background: true })
  const waiting = Array.from({ length: 6 }, (_, at) => take(buckets[at % 4]))
  await pass(1_500)
  assert.deepEqual([inOrder(waiting).at(-1), renewal.left], [750, 875])
})

test('who cannot be served in time is told so, and when: the line of all replicas is one', async (context) => {
  const { buckets, pass } = world(context)
  // Forty wait at each of three replicas: fifteen seconds.
  for (const bucket of buckets.slice(0, 3)) for (let at = 0; at < 40; at++) take(bucket)
  await pass(1_000)
  const hasty = take(buckets[3], 1_000, { key: 'hasty' })
  await pass(250)
  assert.equal(hasty.failure, undefined, 'its replica has its turn with the others')
  const late = Array.from({ length: 10 }, (_, at) => take(buckets[3], 2_000, { key: `late ${at}` }))
  await pass(250)
  const told = late.filter(({ failure }) => failure !== undefined).map(toldOf)
  assert.ok(told.length >= 5 && told.length <= 8, `${told.length} of 10 are late`)
  assert.ok(
    told.every((seconds) => seconds! >= 14 && seconds! <= 17),
    `told ${told.join(', ')}`,
  )
})

test('who was told to come goes first at any replica', async (context) => {
  const { buckets, pass } = world(context)
  for (const bucket of buckets) for (let at = 0; at < 20; at++) take(bucket)
  await pass(300)
  const told = take(buckets[0], 100, { key: 'told' })
  await pass(300)
  const seconds = toldOf(told)!
  assert.ok(seconds >= 9 && seconds <= 11, `told ${seconds}`)
  for (const bucket of buckets) for (let at = 0; at < 100; at++) take(bucket)
  await pass(seconds * 1_000)
  const stranger = take(buckets[1], 600, { key: 'stranger' })
  const back = take(buckets[1], 600, { key: 'told' })
  await pass(600)
  assert.ok(back.left !== undefined, 'it is served')
  assert.ok(toldOf(stranger)! > 30)
})

test('who was told to come goes before those who wait already, though it could wait as well', async (context) => {
  const { buckets, pass } = world(context, { rate: 1 })
  take(buckets[0])
  await pass(5)
  const told = take(buckets[0], 500, { key: 'told' })
  await pass(5)
  assert.equal(toldOf(told), 1)
  const waiting = Array.from({ length: 4 }, () => take(buckets[1]))
  await pass(1_100)
  const back = take(buckets[1], MINUTE, { key: 'told' })
  await pass(5_000)
  assert.equal(back.left, 2_000)
  assert.deepEqual(inOrder(waiting), [1_000, 3_000, 4_000, 5_000])
})

test('who was not told yet waits behind those who were, and is told so where that is too long', async (context) => {
  const { buckets, pass } = world(context, { rate: 1 })
  take(buckets[0])
  await pass(5)
  for (const key of ['a', 'b', 'c', 'd']) take(buckets[0], 500, { key })
  await pass(5)
  const hasty = take(buckets[1], 2_500, { key: 'hasty' })
  const patient = take(buckets[1], 10_000, { key: 'patient' })
  await pass(50)
  assert.ok(toldOf(hasty)! >= 5)
  // None of them comes.
  await pass(3_000)
  assert.equal(patient.left, 1_000)
})

test('a turn that a busy process misses by more than a quarter of a second is lost, and no other', async (context) => {
  const { buckets, pass, counted } = world(context)
  const takers = Array.from({ length: 4 }, () => take(buckets[0]))
  await pass(5)
  assert.equal(counted['leased'], 3)
  context.mock.timers.setTime(NOW + 2_000)
  await pass(1_000)
  assert.equal(counted['unused'], 2)
  assert.deepEqual(leftOf(takers).slice(0, 1), [0])
  const left = leftOf(takers).slice(1) as number[]
  assert.ok(left.every((at) => at >= 2_000))
  assertWithin(left, 3)
})

test('who waits for a turn of the share has one of the whole budget when that is back', async (context) => {
  const { buckets, pass, cut, mend } = world(context)
  cut(0)
  const takers = Array.from({ length: 60 }, () => take(buckets[0]))
  await pass(2_000)
  assert.equal(leftOf(takers).filter((at) => at !== undefined).length, 5)
  mend(0)
  await pass(3_500)
  const before = leftOf(takers).filter((at) => at !== undefined).length
  await pass(2_000)
  const after = leftOf(takers).filter((at) => at !== undefined).length
  assert.equal(after - before, 16)
})

test('a pause that one replica is told of stops all, also those that are cut off later', async (context) => {
  const { buckets, pass, cut } = world(context)
  buckets[0]!.pauseFor(3_000)
  await pass(5)
  const takers = buckets.map((bucket) => take(bucket))
  await pass(1_000)
  cut(...ALL)
  assert.deepEqual(leftOf(takers), [undefined, undefined, undefined, undefined])
  assert.equal(buckets[1]!.available, 0)
  await pass(1_990)
  assert.deepEqual(leftOf(takers), [undefined, undefined, undefined, undefined])
  await pass(2_000)
  assert.ok(takers.every(({ left }) => left! >= 3_000))
})

test('without a budget nobody waits, one answer is good for many, and a pause stops all', async (context) => {
  const { buckets, pass, turns } = world(context, { rate: undefined })
  const first = take(buckets[0])
  await pass(5)
  const many = Array.from({ length: 100 }, () => take(buckets[0]))
  await pass(5)
  assert.deepEqual([first.left, ...new Set(leftOf(many)), turns.asked], [0, 5, 1])
  buckets[1]!.pauseFor(2_000)
  await pass(300)
  const paused = buckets.map((bucket) => take(bucket))
  await pass(1_600)
  assert.ok(leftOf(paused).every((at) => at === undefined))
  await pass(300)
  assert.ok(paused.every(({ left }) => left! >= 2_010))
})

test('what a request was promised after it was throttled is known at each replica', async (context) => {
  const { buckets, pass } = world(context, { rate: 1 })
  buckets[0]!.pauseFor(4_000)
  const told = buckets[0]!.promise('throttled')
  await pass(5)
  assert.equal(await told, 4)
  for (let at = 0; at < 30; at++) take(buckets[3])
  await pass(3_900)
  // The turn of the pause's end is leased already.
  const back = take(buckets[2], 1_500, { key: 'throttled' })
  await pass(1_500)
  assert.equal(back.left, 5_000)
})

test('replicas that cannot ask have each their share, from nothing; who waits waits on', async (context) => {
  const { buckets, pass, cut, counted } = world(context)
  const takers = buckets.flatMap((bucket) => Array.from({ length: 10 }, () => take(bucket)))
  await pass(1_000)
  cut(...ALL)
  await pass(4_000)
  assert.ok(buckets.every(({ isShared }) => !isShared))
  const left = inOrder(takers).filter((at) => at !== undefined) as number[]
  assert.ok(takers.every(({ failure }) => failure === undefined))
  const alone = left.filter((at) => at > 1_260)
  assert.ok(alone[0]! >= 1_500, `${alone[0]} is too soon for a share that begins with nothing`)
  assert.ok(alone.length >= 24 && alone.length <= 28, `${alone.length} left in the 3.5 s of shares`)
  assert.equal(counted['own'], alone.length)
})

test('one answer that is late costs nobody more than its turn', async (context) => {
  const { buckets, pass, cut, mend } = world(context, { replicas: 1 })
  const takers = Array.from({ length: 40 }, () => take(buckets[0]))
  for (let at = 0; at < 5; at++) {
    await pass(500)
    cut(0)
    await pass(150)
    mend(0)
    await pass(350)
  }
  assert.ok(takers.every(({ failure }) => failure === undefined))
  const left = leftOf(takers).filter((at) => at !== undefined)
  assert.ok(left.length >= 30 && left.length <= 40, `${left.length} left in five seconds`)
})

test('replicas that come back one after the other never spend more than the budget', async (context) => {
  const { buckets, pass, cut, mend } = world(context)
  const takers = buckets.flatMap((bucket) => Array.from({ length: 60 }, () => take(bucket)))
  await pass(2_000)
  cut(...ALL)
  await pass(3_000)
  for (const number of ALL) {
    mend(number)
    await pass(700)
  }
  await pass(6_000)
  assert.ok(buckets.every(({ isShared }) => isShared))
  assert.ok(takers.every(({ failure }) => failure === undefined))
  const left = inOrder(takers).filter((at) => at !== undefined) as number[]
  assertWithin(left, 5)
  const after = left.filter((at) => at > 8_800)
  assert.ok(after.length >= 22, `${after.length} left in the last three seconds`)
})

test('without anything to ask from the start there is the share, and a burst of it', async (context) => {
  const { buckets, pass, cut } = world(context, { burst: 8 })
  cut(...ALL)
  const takers = Array.from({ length: 4 }, () => take(buckets[0]))
  await pass(1_000)
  assert.deepEqual(leftOf(takers), [0, 0, 500, 1_000])
})

/** Two hosts of two workers each: each host has a bucket of its own while there is no answer. */
function hosts(context: TestContext, replicas = 4) {
  context.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
  const turns = new ModelTurns(() => Date.now())
  let isThere = true
  const buckets = [0, 1].flatMap(() => {
    const own = createBucket({ rate: RATE / 2, burst: 1 })
    return [0, 1].map(() =>
      createSharedBucket({
        ...{ budget: { rate: RATE, burst: 1 }, replicas, own },
        ask: async (need) => (isThere ? turns.ask('tenant', need) : undefined),
        nameOf: (key) => key,
        count: () => undefined,
        random: () => 0,
      }),
    )
  })
  context.after(() => buckets.forEach((bucket) => bucket.close()))
  const pass = async (ms: number): Promise<void> => {
    for (let at = 0; at <= ms; at += 5) {
      await settled()
      if (at < ms) context.mock.timers.tick(5)
    }
  }
  return { buckets, pass, cut: () => (isThere = false), mend: () => (isThere = true) }
}

test('workers that cannot ask have the share of their host, whichever needs it, from nothing', async (context) => {
  const { buckets, pass, cut, mend } = hosts(context)
  const takers = Array.from({ length: 100 }, () => take(buckets[0]))
  await pass(1_000)
  cut()
  await pass(4_000)
  const left = inOrder(takers).filter((at) => at !== undefined) as number[]
  // The last that was leased was that of 1 125 ms.
  const alone = left.slice(10)
  assert.ok(alone[0]! >= 1_300, `${alone[0]} is too soon for a share that begins with nothing`)
  assert.ok(alone.length >= 14 && alone.length <= 16, `${alone.length} left at one of four workers`)
  const others = buckets.slice(1).flatMap((bucket) => [take(bucket), take(bucket)])
  await pass(1_000)
  mend()
  await pass(3_000)
  assertWithin(inOrder([...takers, ...others]).filter((at) => at !== undefined) as number[], 5)
  assert.ok([...takers, ...others].every(({ failure }) => failure === undefined))
  assert.ok(buckets.slice(0, 1).every(({ isShared }) => isShared))
})

test('who waits at the host has a turn of all replicas when that is back, and leaves its place there', async (context) => {
  context.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
  const turns = new ModelTurns(() => Date.now())
  let isThere = false
  const places: string[] = []
  const elsewhere: Elsewhere = {
    take({ number }) {
      places.push(`take ${number}`)
      return new Promise(() => undefined)
    },
    leave: (number) => void places.push(`leave ${number}`),
    promise: async () => 1,
    pause: () => undefined,
    probe: async () => true,
    close: () => undefined,
    ...{ pausedUntil: 0, available: 0 },
  }
  const bucket = createSharedBucket({
    ...{ budget: { rate: RATE, burst: 1 }, replicas: 4 },
    own: createHostBucket({ elsewhere, share: undefined, spent: () => undefined }),
    ask: async (need) => (isThere ? turns.ask('tenant', need) : undefined),
    nameOf: (key) => key,
    count: () => undefined,
  })
  context.after(() => bucket.close())
  const taker = take(bucket)
  await settled()
  const [place = ''] = places
  isThere = true
  for (let at = 0; at < 40; at++) {
    context.mock.timers.tick(5)
    await settled()
  }
  assert.ok(taker.left !== undefined)
  assert.deepEqual(places, [place, place.replace('take', 'leave')])
})

test('where more were seen than are configured the share of the host is too large, and each has its own', async (context) => {
  const { buckets, pass, cut } = hosts(context, 2)
  const takers = buckets.map((bucket) => Array.from({ length: 40 }, () => take(bucket)))
  await pass(1_000)
  cut()
  await pass(500)
  const before = inOrder(takers.flat()).filter((at) => at !== undefined).length
  await pass(4_000)
  const after = inOrder(takers.flat()).filter((at) => at !== undefined).length
  assert.ok(after - before >= 31 && after - before <= 33, `${after - before} left in four seconds`)
})

test('when nobody waits any more no timer is left', async () => {
  const timers = (): number =>
    process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  let there = true
  const turns = new ModelTurns(() => Date.now())
  const bucket = createSharedBucket({
    ...{ budget: { rate: 0.01, burst: 1 }, replicas: 1 },
    ask: async (need) => (there ? turns.ask('tenant', need) : undefined),
    nameOf: (key) => key,
    count: () => undefined,
  })
  for (there of [true, false]) {
    const takers = [take(bucket, 10 * MINUTE), take(bucket, 10 * MINUTE)]
    await new Promise(setImmediate)
    assert.ok(timers() > before)
    takers.forEach(({ controller }) => controller.abort())
    await new Promise(setImmediate)
    bucket.close()
    assert.equal(timers(), before)
  }
})

/** A tenant's own bucket, of 8 a second and 8 at once, would have let all of them through. */
function assertWithin(left: readonly number[], burst: number): void {
  let now = 0
  const limiter = createLimiter({ rate: RATE, burst }, () => now)
  for (now of left) assert.ok(limiter.take().allowed, `one too many at ${now} ms`)
}

interface Storm {
  readonly users: number
  /** In milliseconds: when nobody reaches Redis. */
  readonly without?: readonly [number, number]
}

/** Distinct users at four replicas, a third at once and the others in a minute. Who is told to come back does, elsewhere. */
async function storm(context: TestContext, { users, without }: Storm) {
  const { buckets, pass, cut, mend, turns } = world(context)
  const left: number[] = []
  const back = { came: 0, served: 0 }
  const returns: { key: string; at: number }[] = []
  let turn = 0
  const arrive = (key: string, again: boolean): void => {
    const bucket = buckets[turn++ % buckets.length]!
    const deadline = Date.now() + PATIENCE
    bucket.take({ signal: new AbortController().signal, deadline, key }).then(
      () => {
        assert.ok(Date.now() <= deadline, 'served after its deadline')
        left.push(Date.now() - NOW)
        if (again) back.served++
        if (again) back.came++
      },
      (error: GatewayError) => {
        const told = error.retryAfter!
        assert.ok(told >= 1 && told <= 60, `told ${told}`)
        if (again) back.came++
        if (!again && told < 60) returns.push({ key, at: Date.now() + told * 1_000 + 10 })
      },
    )
  }
  let come = 0
  for (let at = 0; at < 1.2 * MINUTE; at += 10) {
    if (at === without?.[0]) cut(...ALL)
    if (at === without?.[1]) mend(...ALL)
    const due = Math.min(users, Math.ceil(users / 3) + Math.floor((at / MINUTE) * users * (2 / 3)))
    while (come < due) arrive(`user ${come++}`, false)
    const now = Date.now()
    for (const one of returns.filter((one) => one.at <= now)) arrive(one.key, true)
    returns.splice(0, returns.length, ...returns.filter((one) => one.at > now))
    await pass(10, 10)
  }
  return { left, back, asked: turns.asked }
}

test('a storm over four replicas spends the whole budget and no more, and who is told is served', async (context) => {
  const { left, back, asked } = await storm(context, { users: 3_000 })
  assertWithin(left, 4)
  const exchanges = left.filter((at) => at <= MINUTE).length
  context.diagnostic(
    `${exchanges} in a minute, ${back.served} of ${back.came} who came back, ${asked} scripts`,
  )
  assert.ok(exchanges >= 456, `${exchanges} exchanges in a minute`)
  assert.ok(back.came > 300 && back.served >= back.came * 0.95, `${back.served} of ${back.came}`)
})

test('a storm in which Redis is lost spends what the shares allow meanwhile, and no more', async (context) => {
  const { left } = await storm(context, { users: 3_000, without: [20_000, 40_000] })
  assertWithin(left, 6)
  const exchanges = left.filter((at) => at <= MINUTE).length
  context.diagnostic(`${exchanges} in a minute`)
  assert.ok(exchanges >= 440, `${exchanges} exchanges in a minute`)
})
