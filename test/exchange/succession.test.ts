import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { GatewayError } from '../../src/errors.ts'
import { createPurges } from '../../src/exchange/purge.ts'
import { type Line, Successions } from '../../src/exchange/succession.ts'
import { permit } from '../support.ts'
import { settled } from './by-hand.ts'

const MINUTE = 60_000
const BOUNDS = { maxEntries: 1_000, maxBytes: 1_000_000 }
const NOW = Date.parse('2026-11-21T12:00:00Z')

const CLIENT = { id: 'web', method: 'client_secret_post', secret: 'a secret' }
const holder = (user = 'alice', client = CLIENT) =>
  permit({
    subject: { subject: user, claims: { iss: 'https://issuer.example/', sub: user } },
    route: {
      exchange: { grant: 'refresh-token', client, refreshTokenHeader: 'x', maxAgeMs: 10 * MINUTE },
    },
  })

function setting(t: TestContext) {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const purges = createPurges()
  const successions = new Successions(BOUNDS, purges)
  const seen = (token: string, of = holder()): Line => {
    const line = successions.hold(of, token)
    successions.release(line)
    return line
  }
  return { purges, successions, seen }
}

const ASK = (): { signal: AbortSignal; deadline: number } => ({
  signal: new AbortController().signal,
  deadline: Date.now() + MINUTE,
})

test('a token and all that replaced it have one name', (t) => {
  const { successions, seen } = setting(t)
  const line = seen('first')
  successions.rotate(line, holder(), 'second')
  successions.rotate(line, holder(), 'third')

  assert.equal(seen('first').name, line.name)
  assert.equal(seen('second').name, line.name)
  assert.equal(seen('third').name, line.name)
  assert.notEqual(seen('fourth').name, line.name)
})

test('a name holds nothing of a token, and is another for another client', (t) => {
  const { seen } = setting(t)

  assert.doesNotMatch(seen('first-token').name, /first-token/)
  const other = holder('alice', { ...CLIENT, id: 'other' })
  assert.notEqual(seen('first-token').name, seen('first-token', other).name)
})

test('what nobody redeemed takes no place: guessed tokens push no known ones out', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const successions = new Successions({ maxEntries: 4, maxBytes: 100_000 }, createPurges())
  const line = successions.hold(holder(), 'first')
  successions.rotate(line, holder(), 'second')
  successions.release(line)

  for (let guess = 0; guess < 100; guess++) {
    successions.release(successions.hold(holder(), `guess ${guess}`))
  }

  assert.equal(successions.hold(holder(), 'first'), line)
})

test('what replaced a token is known as long as a token of it may be kept, and half a minute once it was presented', (t) => {
  const { successions, seen } = setting(t)
  const line = seen('first')
  successions.rotate(line, holder(), 'second')

  t.mock.timers.tick(9 * MINUTE)
  assert.equal(seen('first'), line)
  assert.equal(seen('second'), line)
  t.mock.timers.tick(29_000)
  assert.equal(seen('first'), line)
  t.mock.timers.tick(2_000)
  assert.notEqual(seen('first'), line)
  assert.equal(seen('second'), line)
  t.mock.timers.tick(MINUTE)
  assert.notEqual(seen('second'), line)
})

test('it is redeemed one at a time, in the order of those who came, each with the newest', async (t) => {
  const { successions } = setting(t)
  const line = successions.hold(holder(), 'first')
  const sent: string[] = []
  const open: (() => void)[] = []
  const redeem = (next: string) => async (token: string) => {
    sent.push(token)
    await new Promise<void>((resolve) => open.push(resolve))
    successions.rotate(line, holder(), next)
    return next
  }

  const answers = ['second', 'third', 'fourth'].map((next) =>
    line.turn('first', ASK(), redeem(next)),
  )
  for (let turn = 0; turn < 3; turn++) {
    await settled()
    assert.equal(sent.length, turn + 1)
    open[turn]?.()
  }

  assert.deepEqual(await Promise.all(answers), ['second', 'third', 'fourth'])
  assert.deepEqual(sent, ['first', 'second', 'third'])
})

test('who leaves before its turn sends nothing, and holds nobody up', async (t) => {
  const { successions } = setting(t)
  const line = successions.hold(holder(), 'first')
  let finish = (): void => undefined
  const first = line.turn('first', ASK(), () => new Promise<void>((resolve) => (finish = resolve)))
  const controller = new AbortController()
  const sent: string[] = []
  const note = async (token: string): Promise<void> => void sent.push(token)
  const left = line.turn('first', { ...ASK(), signal: controller.signal }, note)
  const last = line.turn('first', ASK(), async () => note('last'))
  await settled()
  controller.abort(new Error('the caller left'))
  finish()

  await assert.rejects(left, { message: 'the caller left' })
  await Promise.all([first, last])
  assert.deepEqual(sent, ['last'])
})

test('whose turn does not come in time is told so, and the turn of those behind still comes', async (t) => {
  const { successions } = setting(t)
  const line = successions.hold(holder(), 'first')
  let finish = (): void => undefined
  const first = line.turn('first', ASK(), () => new Promise<void>((resolve) => (finish = resolve)))
  const late = line.turn('first', { ...ASK(), deadline: Date.now() }, async () => 'sent')
  const last = line.turn('first', ASK(), async () => 'last')

  await assert.rejects(late, { code: 'exchange_unavailable' })
  finish()
  await first
  assert.equal(await last, 'last')
})

test('a failure ends its turn, too', async (t) => {
  const { successions } = setting(t)
  const line = successions.hold(holder(), 'first')
  const failed = line.turn('first', ASK(), () =>
    Promise.reject(new GatewayError('exchange_unavailable', 'down')),
  )
  const next = line.turn('first', ASK(), async (token) => token)

  await assert.rejects(failed)
  assert.equal(await next, 'first')
})

test('a successor is told to its owner alone, and to nobody who is known to be another', (t) => {
  const { successions, seen } = setting(t)
  const line = seen('first')
  successions.rotate(line, holder(), 'second')
  assert.equal(line.successorOf('first', holder('bob')), 'second')
  line.learnOwner(holder('bob'), false)
  assert.equal(line.successorOf('first', holder('bob')), undefined)
  assert.equal(line.isForeignTo(holder('bob')), false)

  line.learnOwner(holder('alice'), true)

  assert.equal(line.successorOf('first', holder('alice')), 'second')
  assert.equal(line.successorOf('second', holder('alice')), undefined)
  assert.equal(line.successorOf('first', holder('carol')), undefined)
  assert.deepEqual(
    ['alice', 'bob'].map((user) => line.isForeignTo(holder(user))),
    [false, true],
  )
})

test('what its issuer refused is nobody’s successor, and what was purged is forgotten', (t) => {
  const { purges, successions, seen } = setting(t)
  const dead = seen('first')
  successions.rotate(dead, holder(), 'second')
  successions.forget(dead)
  assert.equal(dead.successorOf('first', holder()), undefined)
  assert.notEqual(seen('first'), dead)

  const purged = seen('one')
  successions.rotate(purged, holder(), 'two')
  purges.purge({ subject: 'bob' })
  assert.equal(seen('one'), purged)
  purges.purge({ subject: 'alice' })
  assert.notEqual(seen('one'), purged)
})

test('however long a line gets, a few of its tokens are known, and the newest is', (t) => {
  const { successions } = setting(t)
  const line = successions.hold(holder(), 'token 0')
  for (let token = 1; token <= 100; token++) {
    successions.rotate(line, holder(), `token ${token}`)
  }
  successions.release(line)

  assert.equal(line.ids.length, 16)
  assert.equal(successions.hold(holder(), 'token 100'), line)
  assert.equal(successions.hold(holder(), 'token 99'), line)
  assert.notEqual(successions.hold(holder(), 'token 1'), line)
})
