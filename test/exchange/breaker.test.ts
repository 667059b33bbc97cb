import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { Permit } from '../../src/authorize/authorize.ts'
import { type ErrorCode, GatewayError } from '../../src/errors.ts'
import { createBreakers } from '../../src/exchange/breaker.ts'
import type { Exchange } from '../../src/exchange/exchange.ts'
import { UnfitToken } from '../../src/exchange/issued.ts'
import { api, ask, issuedToken, permit } from '../support.ts'
import { type Begun, byHand, call, holder, LEFT, settled } from './by-hand.ts'

const NOW = 1_800_000_000_000

function broken(context: TestContext) {
  context.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
  const { exchange, begun } = byHand()
  const breakers = createBreakers()
  const guarded = breakers.guarded(breakers.judged(exchange))
  const layers: Exchange = async (permit, own) => guarded(permit, own)
  return { layers, breakers, begun }
}

const misconfigured = (): GatewayError => new GatewayError('exchange_misconfigured', 'no client')
const last = (begun: readonly Begun[]): Begun => begun.at(-1)!

/** A first exchange that is answered, so that the target is known to work. */
async function proven(context: TestContext) {
  const all = broken(context)
  call(all.layers, holder('first'))
  await settled()
  last(all.begun).answer()
  await settled()
  return all
}

test('a refused client is answered at once while the breaker is open, with the time that is left', async (context) => {
  const { layers, breakers, begun } = await proven(context)
  const permit = holder('alice')
  call(layers, permit)
  await settled()
  last(begun).fail(misconfigured())
  await settled()
  assert.equal(begun.length, 2)
  assert.equal(breakers.open(permit.subject.api.issuer), 1)
  context.mock.timers.tick(999)
  const own = ask()
  await assert.rejects(async () => layers(permit, own), {
    code: 'exchange_misconfigured',
    retryAfter: 1,
  })
  assert.equal(own.outcome, 'shed')
  assert.equal(begun.length, 2)
  context.mock.timers.tick(1)
  call(layers, permit)
  await settled()
  assert.equal(begun.length, 3)
})

test('a wrong secret costs at most ten exchanges a minute, and doubles its pauses to 30 s', async (context) => {
  const { layers, begun } = broken(context)
  const times: number[] = []
  for (let at = 0; at < 120_000; at += 100) {
    const before = begun.length
    for (let user = 0; user < 5; user++) call(layers, holder(`user ${user}`))
    await settled()
    for (const one of begun.slice(before)) {
      times.push(at)
      one.fail(misconfigured())
    }
    await settled()
    context.mock.timers.tick(100)
  }
  assert.ok(times.filter((at) => at < 60_000).length <= 10, times.join())
  const gaps = times.slice(1).map((at, index) => at - times[index]!)
  assert.deepEqual(gaps, [0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
})

test('after the pause a single exchange finds out, and the others are answered at once', async (context) => {
  const { layers, begun } = await proven(context)
  call(layers, holder('alice'))
  await settled()
  last(begun).fail(misconfigured())
  await settled()
  context.mock.timers.tick(1_000)
  const probe = call(layers, holder('alice'))
  await settled()
  assert.equal(begun.length, 3)
  await assert.rejects(call(layers, holder('bob')).answer, { code: 'exchange_misconfigured' })
  last(begun).answer()
  assert.equal((await probe.answer).value, 'for alice')
  const others = ['bob', 'carol'].map((name) => call(layers, holder(name)))
  await settled()
  assert.equal(begun.length, 5)
  for (const one of begun.slice(3)) one.answer()
  await Promise.all(others.map(({ answer }) => answer))
})

test('an exchange that finds nothing out leaves that to the next', async (context) => {
  const { layers, begun } = await proven(context)
  call(layers, holder('alice'))
  await settled()
  last(begun).fail(misconfigured())
  await settled()
  context.mock.timers.tick(1_000)
  const gone = call(layers, holder('alice'))
  await settled()
  gone.leave()
  await assert.rejects(gone.answer, LEFT)
  call(layers, holder('bob'))
  await settled()
  assert.equal(begun.length, 4)
})

for (const [code, opens] of [
  ['exchange_misconfigured', true],
  ['exchange_unavailable', false],
  ['invalid_token', false],
  ['exchange_denied', false],
] as const satisfies readonly (readonly [ErrorCode, boolean])[]) {
  test(`${code} ${opens ? 'opens' : 'does not open'} the breaker`, async (context) => {
    const { layers, breakers, begun } = await proven(context)
    const permit = holder('alice')
    call(layers, permit)
    await settled()
    last(begun).fail(new GatewayError(code, 'no'))
    await settled()
    assert.equal(breakers.open(permit.subject.api.issuer), opens ? 1 : 0)
  })
}

test('another target, and another issuer, have breakers of their own', async (context) => {
  const { layers, begun } = await proven(context)
  call(layers, holder('alice', 'token', 'a'))
  await settled()
  last(begun).fail(misconfigured())
  await settled()
  call(layers, holder('alice', 'token', 'b'))
  const { subject, route } = holder('alice', 'token', 'a')
  call(layers, { subject: { ...subject, issuer: 'https://other.example/' }, route } as Permit)
  await settled()
  assert.equal(begun.length, 4)
})

test('as long as nothing is known of a target, three exchanges find it out for all', async (context) => {
  const { layers, begun } = broken(context)
  const callers = Array.from({ length: 500 }, (_, at) => call(layers, holder(`user ${at}`)))
  await settled()
  assert.equal(begun.length, 3)
  begun[1]!.fail(misconfigured())
  await settled()
  for (const { answer } of callers.slice(3)) {
    await assert.rejects(answer, { code: 'exchange_misconfigured' })
  }
  assert.equal(begun.length, 3)
})

test('as long as nothing good is known of a target, ten users find out that it is the target’s fault', async (context) => {
  const { layers, begun } = broken(context)
  const callers = Array.from({ length: 500 }, (_, at) => {
    return call(layers, permit({ subject: { subject: `user ${at}` } }))
  })
  await settled()
  assert.equal(begun.length, 3)
  const gone = callers[3]!
  gone.leave()
  for (let at = 0; at < 10; at++) {
    begun[at]!.fail(new UnfitToken('aud'))
    await settled()
  }
  await assert.rejects(gone.answer, LEFT)
  const { length } = begun
  assert.ok(length <= 12, `${length} exchanges began`)
  for (const { answer } of callers.slice(length + 1)) {
    await assert.rejects(answer, { code: 'exchange_misconfigured' })
  }
  assert.equal(begun.length, length)
})

test('the first answer lets all the others go, and so does a second without one', async (context) => {
  for (const settle of [
    (begun: Begun[]) => begun[0]!.answer(issuedToken()),
    (begun: Begun[]) => begun[0]!.fail(new GatewayError('exchange_unavailable', 'down')),
    () => context.mock.timers.tick(1_000),
  ]) {
    const { layers, begun } = broken(context)
    for (let at = 0; at < 20; at++) call(layers, holder(`user ${at}`))
    await settled()
    settle(begun)
    await settled()
    assert.equal(begun.length, 20)
    context.mock.timers.reset()
  }
})

test('a target that cannot bind tokens is not closed to those that need none', async (context) => {
  const { layers, begun } = broken(context)
  const asking = (bound?: 'dpop'): Permit =>
    permit({ route: { exchange: { audience: 'a', ...(bound && { bound }) } } })
  call(layers, asking('dpop'))
  await settled()
  last(begun).fail(misconfigured())
  await settled()
  await assert.rejects(async () => layers(asking('dpop'), ask()), {
    code: 'exchange_misconfigured',
  })
  const { answer } = call(layers, asking())
  await settled()
  assert.equal(begun.length, 2)
  last(begun).answer()
  assert.equal((await answer).scheme, 'Bearer')
})

for (const grant of ['token-exchange', 'refresh-token', 'client-credentials'] as const) {
  const opens = grant === 'client-credentials'
  const what = opens ? 'is the target’s at once' : 'opens nothing, but for ten users in a row'
  test(`what is unfit with the grant ${grant} ${what}`, async (context) => {
    const { layers, breakers, begun } = await proven(context)
    const of = (user: string): Permit =>
      permit({
        subject: { subject: user },
        route: {
          exchange: { grant, ...(grant === 'refresh-token' && { client: api().client }) },
        },
      })
    const bring = async (user: string, end: (exchange: Begun) => void): Promise<void> => {
      call(layers, of(user))
      await settled()
      end(last(begun))
      await settled()
    }
    const isOpen = (): boolean => breakers.open(of('alice').subject.api.issuer) > 0
    const unfit = (exchange: Begun): void => exchange.fail(new UnfitToken('aud'))
    await bring('alice', unfit)
    assert.equal(isOpen(), opens)
    if (opens) return
    for (let time = 1; time < 20; time++) await bring('alice', unfit)
    for (let user = 2; user < 10; user++) await bring(`user ${user}`, unfit)
    await bring('bob', (exchange) => exchange.answer())
    for (let user = 1; user < 10; user++) await bring(`user ${user}`, unfit)
    assert.equal(isOpen(), false)

    await bring('user 10', unfit)

    assert.equal(isOpen(), true)
  })
}
