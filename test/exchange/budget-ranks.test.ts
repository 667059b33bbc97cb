import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { GatewayError } from '../../src/errors.ts'
import { type Bucket, createBucket } from '../../src/exchange/bucket.ts'
import type { Turn } from '../../src/exchange/line.ts'

const NOW = 1_800_000_000_000

/** A bucket of one a second in a time that is moved by hand, and a log of who left and who was shed. */
function paced(context: TestContext, random = 0) {
  context.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
  const bucket = createBucket({ rate: 1, burst: 1 }, () => random)
  const log: string[] = []
  return {
    bucket,
    log,
    take: (name: string, patienceMs: number, turn: Partial<Turn> = {}) =>
      take(bucket, log, name, patienceMs, turn),
    async pass(ms: number) {
      for (let at = 0; at < ms; at += 10) {
        await turns()
        context.mock.timers.tick(10)
      }
      await turns()
    },
  }
}

function take(bucket: Bucket, log: string[], name: string, patienceMs: number, turn: object): void {
  const { signal } = new AbortController()
  bucket.take({ signal, deadline: Date.now() + patienceMs, key: name, ...turn }).then(
    () => log.push(`${name} ${(Date.now() - NOW) / 1_000}`),
    (error: unknown) => {
      assert.ok(error instanceof GatewayError)
      assert.equal(error.code, 'exchange_unavailable')
      log.push(`${name} told ${error.retryAfter}`)
    },
  )
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await Promise.resolve()
}

test('those who wait go before what nobody waits for, each in the order of arrival', async (context) => {
  const { take, pass, log } = paced(context)
  take('first', 60_000)
  take('renewal 1', 60_000, { background: true })
  take('renewal 2', 60_000, { background: true })
  take('second', 60_000)
  take('third', 60_000)
  await pass(5_000)
  assert.deepEqual(log, ['first 0', 'second 1', 'third 2', 'renewal 1 3', 'renewal 2 4'])
})

test('what nobody waits for is shed when those who come take its turn', async (context) => {
  const { take, pass, log } = paced(context)
  take('first', 60_000)
  take('renewal', 1_500, { background: true })
  take('second', 60_000)
  await pass(3_000)
  assert.deepEqual(log, ['first 0', 'renewal told 1', 'second 1'])
})

test('each one who is shed is told a later time than the one before it', async (context) => {
  const { take, log } = paced(context)
  for (const name of ['a', 'b', 'c', 'd', 'e']) take(name, 0)
  await turns()
  assert.deepEqual(log, ['b told 1', 'c told 2', 'd told 3', 'e told 4', 'a 0'].toSorted(last))
})

const last = (one: string, other: string): number =>
  Number(one.includes('told')) - Number(other.includes('told')) || (one < other ? -1 : 1)

test('who comes back when told goes before who comes for the first time', async (context) => {
  const { take, pass, log } = paced(context)
  take('a', 0)
  take('told', 0)
  await pass(10)
  take('b', 60_000)
  take('c', 60_000)
  await pass(990)
  take('told', 1_000)
  await pass(3_000)
  // `b` has the turn of the moment in which the other one comes.
  assert.deepEqual(log, ['a 0', 'told told 1', 'b 1', 'told 2', 'c 3'])
})

test('who comes back too early is told what is left, and loses nothing', async (context) => {
  const { take, pass, log } = paced(context)
  for (const name of ['a', 'b', 'c', 'd']) take(name, 0)
  await pass(1_010)
  log.length = 0
  take('e', 10_000)
  take('d', 0)
  await pass(2_000)
  assert.equal(log[0], 'e 1.01')
  assert.equal(log[1], 'd told 2')
})

test('one who is not told yet waits behind those who were, and is told so where that is too long', async (context) => {
  const { take, pass, log } = paced(context)
  for (const name of ['a', 'b', 'c', 'd']) take(name, 0)
  await pass(10)
  log.length = 0
  take('patient', 10_000)
  take('hasty', 2_500)
  await pass(5_000)
  assert.deepEqual(log, ['hasty told 5', 'patient 1'])
})

test('a turn is not kept for those who do not come', async (context) => {
  const { take, pass, log } = paced(context)
  for (const name of ['a', 'b', 'c', 'd']) take(name, 0)
  await pass(10_000)
  log.length = 0
  take('e', 0)
  take('f', 1_000)
  await pass(1_000)
  assert.deepEqual(log, ['e 10', 'f 11'])
})

test('what is told is rounded and jittered upwards only, and is at most a minute', async (context) => {
  const { take, log } = paced(context, 0.999)
  for (const name of ['a', 'b', 'c']) take(name, 0)
  for (let at = 0; at < 100; at++) take(`user ${at}`, 0)
  await turns()
  const told = log
    .filter((line) => line.includes('told'))
    .map((line) => Number(line.split(' ').at(-1)))
  assert.deepEqual(told.slice(0, 3), [2, 3, 4])
  assert.equal(Math.max(...told), 60)
})

test('beyond a minute nothing is promised: what is remembered is bounded', async (context) => {
  const { take, pass, log } = paced(context)
  take('first', 0)
  for (let at = 0; at < 1_000; at++) take(`user ${at}`, 0)
  await pass(10)
  assert.equal(log.filter((line) => line.endsWith('told 60')).length, 1_000 - 59)
})
