import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answering, asking, type Handlers, PeerFailure } from '../../src/server/channel.ts'
import { disconnect, pair } from './peers.ts'

type Sums = {
  readonly add: (what: readonly number[]) => number
  readonly fail: (what: string) => void
  readonly never: (what: undefined) => void
}

const HANDLERS: Handlers<Sums> = {
  add: (numbers) => numbers.reduce((sum, one) => sum + one, 0),
  fail(message) {
    throw Object.assign(new Error(message), { code: 'EFAILED', secret: 'of the other process' })
  },
  never: () => new Promise(() => undefined),
}

test('what is asked before the other is there is answered when it is', async () => {
  const [here, there] = pair()
  const ask = asking<Sums>(here)
  const answers = [ask('add', [1, 2], 10_000), ask('add', [3, 4], 10_000)]
  await new Promise(setImmediate)
  answering<Sums>(there, HANDLERS)
  assert.deepEqual(await Promise.all(answers), [3, 7])
  assert.equal(await ask('add', [5], 10_000), 5)
})

test('one that is known to answer already is asked at once', async () => {
  const [here, there] = pair()
  answering<Sums>(there, HANDLERS)
  // What it said of itself was said before anybody listened.
  await new Promise(setImmediate)
  const ask = asking<Sums>(here, true)
  assert.equal(await ask('add', [1, 2], 10_000), 3)
})

test('two that ask each other keep their questions apart', async () => {
  const [here, there] = pair()
  const [ask, askBack] = [asking<Sums>(here), asking<Sums>(there)]
  answering<Sums>(there, HANDLERS)
  answering<Sums>(here, { ...HANDLERS, add: () => 100 })
  const answers = [ask('add', [1], 10_000), askBack('add', [1], 10_000), ask('add', [2], 10_000)]
  assert.deepEqual(await Promise.all(answers), [1, 100, 2])
})

test('a failure comes back with its message and code, and nothing else of it', async () => {
  const [here, there] = pair()
  const ask = asking<Sums>(here)
  answering<Sums>(there, HANDLERS)
  await assert.rejects(ask('fail', 'it cannot be had', 10_000), (error) => {
    assert.ok(error instanceof PeerFailure)
    assert.deepEqual([error.message, error.code], ['it cannot be had', 'EFAILED'])
    return !('secret' in error)
  })
})

test('a failure’s message holds nothing that is shaped like a token', async () => {
  const [here, there] = pair()
  const ask = asking<Sums>(here)
  answering<Sums>(there, HANDLERS)
  const token = `eyJhbGciOiJSUzI1NiJ9.${'x'.repeat(50)}.${'y'.repeat(50)}`
  await assert.rejects(ask('fail', `no: ${token}`, 10_000), { message: 'no: [masked]' })
})

test('what is asked of a process that goes, or has gone, is rejected', async () => {
  const [here, there] = pair()
  const ask = asking<Sums>(here)
  answering<Sums>(there, HANDLERS)
  const early = ask('never', undefined, 10_000)
  await ask('add', [], 10_000)
  disconnect(here, there)
  await assert.rejects(early, { message: 'the process is gone' })
  await assert.rejects(ask('add', [], 10_000), { message: 'the process is gone' })
})

test('an answer that does not come in time is not waited for, and one that comes late is nobody’s', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const [here, there] = pair()
  const ask = asking<Sums>(here)
  answering<Sums>(there, HANDLERS)
  await ask('add', [], 1_000)
  const late = ask('never', undefined, 1_000)
  t.mock.timers.tick(999)
  assert.equal(await ask('add', [1], 1_000), 1)
  t.mock.timers.tick(1)
  await assert.rejects(late, { message: 'no answer to never in time' })
})

test('messages of others, and questions that nobody knows, are none', async () => {
  const [here, there] = pair()
  const ask = asking<Sums>(here)
  answering<Sums>(there, HANDLERS)
  for (const message of [undefined, null, 'text', {}, { ask: 'toString', id: 7, what: null }]) {
    there.events.emit('message', message)
    here.events.emit('message', message)
  }
  assert.equal(await ask('add', [2, 2], 10_000), 4)
})
