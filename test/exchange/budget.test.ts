import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { Budget } from '../../src/config/config.ts'
import { GatewayError } from '../../src/errors.ts'
import { type Bucket, createBucket as create } from '../../src/exchange/bucket.ts'
import { budgeted } from '../../src/exchange/budget.ts'
import type { Exchange } from '../../src/exchange/exchange.ts'
import type { Turn } from '../../src/exchange/line.ts'
import { ask, issuedToken, permit } from '../support.ts'

const NOW = 1_800_000_000_000
const NEVER = Number.MAX_SAFE_INTEGER

/** Without jitter, unless a test is about it. */
const createBucket = (budget: Budget | undefined, random = 0): Bucket =>
  create(budget, () => random)

/** Time stands still until it is moved, a millisecond at a time. */
function stopped(context: TestContext): (ms: number) => Promise<void> {
  context.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
  return async (ms) => {
    await turns()
    for (let at = 0; at < ms; at++) {
      context.mock.timers.tick(1)
      await turns()
    }
  }
}

/** Enough for what is due to reach whoever waits for it. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await Promise.resolve()
}

interface Taker {
  /** Milliseconds after the start, or with what it was refused. */
  left: number | undefined
  failure: unknown
  abort(): void
}

function take(bucket: Bucket, deadline = NEVER, more: Partial<Turn> = {}): Taker {
  const controller = new AbortController()
  const taker: Taker = {
    left: undefined,
    failure: undefined,
    abort: () => controller.abort(new Error('the caller left')),
  }
  bucket.take({ signal: controller.signal, deadline, ...more }).then(
    () => (taker.left = Date.now() - NOW),
    (error: unknown) => (taker.failure = error),
  )
  return taker
}

const lefts = (takers: readonly Taker[]): unknown[] => takers.map(({ left }) => left)

function assertShed({ failure }: Taker, retryAfter: number): void {
  assert.ok(failure instanceof GatewayError, String(failure))
  assert.deepEqual(
    [failure.code, failure.retryAfter, failure.throttled],
    ['exchange_unavailable', retryAfter, false],
  )
}

test('a burst of one paces the exchanges, in the order of arrival', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket({ rate: 8, burst: 1 })
  const takers = Array.from({ length: 5 }, () => take(bucket))
  await pass(1_000)
  assert.deepEqual(lefts(takers), [0, 125, 250, 375, 500])
})

test('a burst leaves at once, and what comes after it is paced', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket({ rate: 10, burst: 3 })
  const takers = Array.from({ length: 6 }, () => take(bucket))
  await pass(400)
  assert.deepEqual(lefts(takers), [0, 0, 0, 100, 200, 300])
})

test('what was not used is not saved beyond the burst', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket({ rate: 10, burst: 2 })
  await pass(5_000)
  assert.equal(bucket.available, 2)
  const takers = Array.from({ length: 4 }, () => take(bucket))
  await pass(200)
  assert.deepEqual(lefts(takers), [5_000, 5_000, 5_100, 5_200])
})

test('without a budget nothing waits', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket(undefined)
  const takers = Array.from({ length: 1_000 }, () => take(bucket))
  await pass(1)
  assert.ok(takers.every(({ left }) => left === 0))
})

test('what cannot leave before its deadline is shed at once, and told when it could', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket({ rate: 1, burst: 1 })
  const first = take(bucket)
  const second = take(bucket, NOW + 1_000)
  const third = take(bucket, NOW + 1_999)
  const fourth = take(bucket, NOW + 2_000)
  await turns()
  assertShed(third, 2)
  await pass(2_000)
  assert.deepEqual(lefts([first, second, fourth]), [0, 1_000, 2_000])
})

test('nobody is told to come back in more than a minute', async (context) => {
  stopped(context)
  const bucket = createBucket({ rate: 0.01, burst: 1 })
  take(bucket)
  const late = take(bucket, NOW + 1)
  await turns()
  assertShed(late, 60)
})

test('whoever leaves gives its turn to the next', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket({ rate: 10, burst: 1 })
  const [first, second, third] = [1, 2, 3].map(() => take(bucket))
  await pass(50)
  second!.abort()
  await pass(50)
  assert.deepEqual(lefts([first!, third!]), [0, 100])
  assert.match(String(second!.failure), /the caller left/)
})

test('who left before it came takes no turn', async (context) => {
  stopped(context)
  const bucket = createBucket({ rate: 1, burst: 1 })
  await assert.rejects(
    bucket.take({ signal: AbortSignal.abort(new Error('gone')), deadline: NEVER }),
    /gone/,
  )
  assert.equal(bucket.available, 1)
})

test('a clock that is set back neither gives nor takes', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket({ rate: 10, burst: 1 })
  take(bucket)
  await turns()
  context.mock.timers.setTime(NOW - 3_600_000)
  assert.equal(bucket.available, 0)
  const next = take(bucket)
  await pass(100)
  assert.equal(next.left, -3_600_000 + 100)
})

test('a pause holds everything back until it is over, and then goes on pacing', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket({ rate: 10, burst: 1 })
  const takers = [take(bucket), take(bucket)]
  await turns()
  bucket.pauseFor(3_000)
  assert.equal(bucket.available, 0)
  takers.push(take(bucket))
  await pass(3_500)
  assert.deepEqual(lefts(takers), [0, 3_000, 3_100])
})

test('a pause also holds back what has no budget', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket(undefined)
  bucket.pauseFor(2_000)
  const takers = [take(bucket), take(bucket), take(bucket, NOW + 1_999)]
  await turns()
  assertShed(takers.pop()!, 2)
  await pass(2_100)
  assert.deepEqual(lefts(takers), [2_000, 2_000])
})

test('a shorter pause does not end a longer one', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket({ rate: 10, burst: 1 })
  bucket.pauseFor(1_000)
  bucket.pauseFor(100)
  const one = take(bucket)
  await pass(1_500)
  assert.equal(one.left, 1_000)
})

test('the bucket fills while it is paused: who is shed is told no more than the truth', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket({ rate: 1, burst: 1 })
  take(bucket)
  bucket.pauseFor(10_000)
  const early = take(bucket, NOW + 9_999)
  const right = take(bucket, NOW + 10_000)
  await turns()
  assertShed(early, 10)
  await pass(10_100)
  assert.equal(right.left, 10_000)
})

test('a pause sheds at once who waits and would wait for too long', async (context) => {
  const pass = stopped(context)
  const bucket = createBucket({ rate: 10, burst: 1 })
  const [, short, long] = [take(bucket), take(bucket, NOW + 5_000), take(bucket, NOW + 60_000)]
  await pass(10)
  bucket.pauseFor(30_000)
  await turns()
  assertShed(short, 31)
  await pass(30_100)
  assert.equal(long.left, 30_010)
})

test('who is served too late, because the process was busy, is shed and takes no turn', async (context) => {
  stopped(context)
  const bucket = createBucket({ rate: 10, burst: 1 })
  const [, late, patient] = [take(bucket), take(bucket, NOW + 200), take(bucket)]
  await turns()
  context.mock.timers.setTime(NOW + 10_000)
  context.mock.timers.tick(1)
  await turns()
  assert.equal(late.left, undefined)
  assertShed(late, 1)
  assert.equal(patient.left, 10_001)
})

test('when nobody waits any more no timer is left', async (context) => {
  const timers = (): number =>
    process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  const bucket = createBucket({ rate: 0.01, burst: 1 })
  const takers = [take(bucket), take(bucket), take(bucket)]
  context.after(() => takers.forEach(({ abort }) => abort()))
  await turns()
  assert.equal(timers(), before + 1)
  takers[1]!.abort()
  assert.equal(timers(), before + 1)
  takers[2]!.abort()
  assert.equal(timers(), before)
  const next = take(bucket)
  context.after(() => next.abort())
  assert.equal(timers(), before + 1, 'the next one waits for its turn again')
})

const throttled = (retryAfter: number): GatewayError =>
  new GatewayError('exchange_unavailable', 'slow down', { retryAfter, throttled: true })

for (const [what, error, ms] of [
  ['429 stops every exchange with that issuer for as long as it says', throttled(3), 3_000],
  [
    'an outage pauses nothing',
    new GatewayError('exchange_unavailable', 'down', { retryAfter: 3 }),
    0,
  ],
  ['a refusal pauses nothing', new GatewayError('exchange_denied', 'denied'), 0],
  ['a defect pauses nothing', new TypeError('a defect'), 0],
] as const) {
  test(what, async (context) => {
    const pass = stopped(context)
    const bucket = createBucket(undefined)
    const answers: Exchange[] = [() => Promise.reject(error), () => issuedToken()]
    const exchange = budgeted(
      (...given) => answers.shift()!(...given),
      () => bucket,
    )
    await assert.rejects(async () => exchange(permit(), ask()), { message: error.message })
    let left: number | undefined
    void Promise.resolve(exchange(permit(), ask())).then(() => (left = Date.now() - NOW))
    await pass(ms + 1)
    assert.equal(left, ms)
  })
}

test('what is shed never reaches the issuer', async (context) => {
  stopped(context)
  const bucket = createBucket(undefined)
  bucket.pauseFor(10_000)
  const exchange = budgeted(
    () => assert.fail('it was sent'),
    () => bucket,
  )
  await assert.rejects(async () => exchange(permit(), ask({ deadline: NOW + 5_000 })), {
    code: 'exchange_unavailable',
    retryAfter: 10,
  })
})

test('each issuer has its own budget', async (context) => {
  stopped(context)
  const buckets = new Map(['a', 'b'].map((name) => [name, createBucket({ rate: 1, burst: 1 })]))
  const exchange = budgeted(
    () => issuedToken(),
    ({ subject }) => buckets.get(subject.subject)!,
  )
  const of = (name: string) => async () =>
    exchange(permit({ subject: { subject: name } }), ask({ deadline: NOW }))
  await of('a')()
  await of('b')()
  await assert.rejects(of('a'), { code: 'exchange_unavailable', retryAfter: 1 })
})
