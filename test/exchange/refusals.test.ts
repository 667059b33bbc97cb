import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { type ErrorCode, GatewayError } from '../../src/errors.ts'
import type { Exchange } from '../../src/exchange/exchange.ts'
import { refusing, unrefused } from '../../src/exchange/refusals.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { ask, issuedToken } from '../support.ts'
import { holder } from './by-hand.ts'

/** An issuer that refuses with this code, and counts. */
function refuses(context: TestContext, code: ErrorCode) {
  context.mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 })
  const sent: string[] = []
  const issuer: Exchange = async ({ subject }) => {
    sent.push(subject.digest)
    if (subject.digest === 'good') return issuedToken()
    throw new GatewayError(code, 'no', { cause: new Error('what the issuer said'), scopes: ['a'] })
  }
  const store = createMemoryStore<GatewayError>({ maxEntries: 100, maxBytes: 1_000_000 })
  return { exchange: unrefused(refusing(issuer, store), store), sent }
}

for (const code of [
  'invalid_token',
  'exchange_denied',
  'insufficient_user_authentication',
] as const) {
  test(`${code} is remembered for 5 s`, async (context) => {
    const { exchange, sent } = refuses(context, code)
    await assert.rejects(async () => exchange(holder('bad'), ask()), { code })
    context.mock.timers.tick(5_000)
    const second = ask()
    await assert.rejects(async () => exchange(holder('bad'), second), { code, scopes: ['a'] })
    assert.equal(second.outcome, 'refused')
    assert.equal(sent.length, 1)
    context.mock.timers.tick(1)
    await assert.rejects(async () => exchange(holder('bad'), ask()), { code })
    assert.equal(sent.length, 2)
  })
}

for (const code of ['exchange_unavailable', 'exchange_misconfigured', 'internal_error'] as const) {
  test(`${code} is not remembered`, async (context) => {
    const { exchange, sent } = refuses(context, code)
    await assert.rejects(async () => exchange(holder('bad'), ask()), { code })
    await assert.rejects(async () => exchange(holder('bad'), ask()), { code })
    assert.equal(sent.length, 2)
  })
}

for (const key of ['token', 'context'] as const) {
  test(`with \`key: ${key}\` a refusal is of the token that was sent, and of no other`, async (context) => {
    const { exchange, sent } = refuses(context, 'exchange_denied')
    await assert.rejects(async () => exchange(holder('bad', key), ask()))
    await exchange(holder('good', key), ask())
    assert.deepEqual(sent, ['bad', 'good'])
    await assert.rejects(async () => exchange(holder('bad', key), ask()))
    assert.equal(sent.length, 2)
  })
}

test('a refusal for one target says nothing about another', async (context) => {
  const { exchange, sent } = refuses(context, 'exchange_denied')
  await assert.rejects(async () => exchange(holder('bad', 'token', 'a'), ask()))
  await assert.rejects(async () => exchange(holder('bad', 'token', 'b'), ask()))
  assert.equal(sent.length, 2)
})

test('what the issuer said is not kept with the refusal', async (context) => {
  const { exchange } = refuses(context, 'exchange_denied')
  const cause = async (): Promise<unknown> => {
    try {
      return await exchange(holder('bad'), ask())
    } catch (error) {
      return (error as GatewayError).cause
    }
  }
  assert.ok((await cause()) instanceof Error)
  assert.equal(await cause(), undefined)
})
