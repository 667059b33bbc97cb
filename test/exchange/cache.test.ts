import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { Permit } from '../../src/authorize/authorize.ts'
import type { GatewayError } from '../../src/errors.ts'
import { cached, kept, type Kept as Entry } from '../../src/exchange/cache.ts'
import type { Exchange } from '../../src/exchange/exchange.ts'
import type { IssuedToken } from '../../src/exchange/issued.ts'
import { exchangeKey } from '../../src/exchange/key.ts'
import { createPurges, type Purges } from '../../src/exchange/purge.ts'
import { type Replaced, replacing } from '../../src/exchange/replace.ts'
import { createMemoryStore, type Store } from '../../src/store/memory.ts'
import { ask, issuedToken, permit } from '../support.ts'

const NOW = 1_800_000_000_000
const SECOND = 1_000

interface Kept {
  readonly exchange: Exchange
  readonly store: Store<Entry>
  readonly purges: Purges
  /** The subjects that were really exchanged. */
  readonly exchanged: string[]
}

/** A cache around an issuer whose tokens are numbered. Time stands still until it is moved. */
function cache(
  context: TestContext,
  { life = 3_600 * SECOND, bytes = 100, maxEntries = 100, maxBytes = 1_000_000 } = {},
): Kept {
  context.mock.timers.enable({ apis: ['Date'], now: NOW })
  const store = createMemoryStore<Entry>({ maxEntries, maxBytes })
  const exchanged: string[] = []
  const issuer: Exchange = ({ subject }) => {
    exchanged.push(subject.digest)
    const value = String(exchanged.length).padEnd(bytes, '.')
    return issuedToken({ value, expiresAt: Date.now() + life })
  }
  const purges = createPurges()
  const exchange = around(kept(issuer, store, purges), store, purges)
  return { exchange, store, purges, exchanged }
}

function around(exchange: Exchange, store: Store<Entry>, purges = createPurges()): Exchange {
  const replaced = createMemoryStore<Replaced>({ maxEntries: 10, maxBytes: 100_000 })
  const refusals = createMemoryStore<GatewayError>({ maxEntries: 10, maxBytes: 100_000 })
  const again = replacing(exchange, { store, replaced, refusals, purges, rateOf: () => undefined })
  return cached(again, store, purges)
}

const holder = (digest: string, exchange: object = {}, expiresAt = NOW + 86_400 * SECOND): Permit =>
  permit({ subject: { digest, expiresAt }, route: { exchange } })

const number = (token: IssuedToken): number => Number.parseInt(token.value)

test('the second request is answered from the cache, and at once', async (context) => {
  const { exchange, exchanged } = cache(context)
  const first = ask()
  await exchange(holder('alice'), first)
  const second = ask()
  const hit = exchange(holder('alice'), second)
  assert.ok(!(hit instanceof Promise))
  assert.equal(number(hit), 1)
  assert.deepEqual([first.outcome, second.outcome], [undefined, 'hit'])
  assert.deepEqual(exchanged, ['alice'])
})

test('another subject, audience or scope is a miss', async (context) => {
  const { exchange, exchanged } = cache(context)
  for (const one of [
    holder('alice'),
    holder('bob'),
    holder('alice', { audience: 'https://other.internal' }),
    holder('alice', { scopes: ['read'] }),
  ]) {
    await exchange(one, ask())
    await exchange(one, ask())
  }
  assert.equal(exchanged.length, 4)
})

for (const [what, life, own, given, seconds] of [
  ['the issued token’s life', 1_000, 86_400, {}, 970],
  ['the subject token’s life', 3_600, 200, {}, 180],
  ['the route’s maxAge', 3_600, 86_400, { maxAgeMs: 100 * SECOND }, 90],
  ['with `key: context` not the subject’s', 1_000, 200, { key: 'context' }, 970],
] as const) {
  test(`an entry ends by ${what}, and not before`, async (context) => {
    const { exchange, exchanged, store } = cache(context, { life: life * SECOND })
    const one = holder('alice', given, NOW + own * SECOND)
    await exchange(one, ask())
    context.mock.timers.tick(seconds * SECOND)
    assert.ok(store.get(exchangeKey(one)))
    context.mock.timers.tick(1)
    assert.equal(store.get(exchangeKey(one)), undefined)
    await exchange(one, ask())
    assert.equal(exchanged.length, 2)
  })
}

for (const life of [0, -60]) {
  test(`a token with ${life} s to live is used once and not kept`, async (context) => {
    const { exchange, exchanged, store } = cache(context, { life: life * SECOND })
    assert.equal(number(await exchange(holder('alice'), ask())), 1)
    assert.equal(number(await exchange(holder('alice'), ask())), 2)
    assert.equal(exchanged.length, 2)
    assert.equal(store.size, 0)
  })
}

test('a token of the subject’s last moment, within the tolerance of clocks, is not kept', async (context) => {
  const { exchange, store } = cache(context)
  await exchange(holder('alice', {}, NOW - SECOND), ask())
  assert.equal(store.size, 0)
  await exchange(holder('alice', {}, NOW + SECOND), ask())
  assert.equal(store.size, 1)
})

test('a token that the upstream refused is exchanged for another, which is kept', async (context) => {
  const { exchange, exchanged } = cache(context)
  const first = await exchange(holder('alice'), ask())
  const second = await exchange(holder('alice'), ask({ instead: first }))
  assert.notEqual(second.value, first.value)
  assert.equal(await exchange(holder('alice'), ask()), second)
  assert.equal(exchanged.length, 2)
})

test('only the very token that was refused is dropped: a newer one is a hit', async (context) => {
  const { exchange, exchanged } = cache(context)
  const first = await exchange(holder('alice'), ask())
  const second = await exchange(holder('alice'), ask({ instead: first }))
  const late = ask({ instead: first })
  assert.equal(await exchange(holder('alice'), late), second)
  assert.equal(late.outcome, 'hit')
  assert.equal(exchanged.length, 2)
})

test('a refused token is dropped for its own key alone', async (context) => {
  const { exchange, exchanged } = cache(context)
  const alice = await exchange(holder('alice'), ask())
  await exchange(holder('bob'), ask())
  await exchange(holder('alice'), ask({ instead: alice }))
  await exchange(holder('bob'), ask())
  assert.deepEqual(exchanged, ['alice', 'bob', 'alice'])
})

test('a refused token stays dropped where the exchange for another fails', async (context) => {
  const { exchange, store } = cache(context)
  const refused = await exchange(holder('alice'), ask())
  const failing = around(() => Promise.reject(new TypeError('a defect')), store)
  await assert.rejects(async () => failing(holder('alice'), ask({ instead: refused })), TypeError)
  const next = await exchange(holder('alice'), ask())
  assert.notEqual(next.value, refused.value)
})

test('a failure is not kept', async (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: NOW })
  const store = createMemoryStore<Entry>({ maxEntries: 10, maxBytes: 100_000 })
  const purges = createPurges()
  const failing = around(
    kept(() => Promise.reject(new TypeError('a defect')), store, purges),
    store,
    purges,
  )
  await assert.rejects(async () => failing(holder('alice'), ask()), TypeError)
  assert.equal(store.size, 0)
})

test('with as many entries as there may be, the one that was used longest ago goes', async (context) => {
  const { exchange, exchanged, store } = cache(context, { maxEntries: 2 })
  await exchange(holder('alice'), ask())
  await exchange(holder('bob'), ask())
  await exchange(holder('alice'), ask())
  await exchange(holder('carol'), ask())
  assert.equal(store.size, 2)
  await exchange(holder('alice'), ask())
  assert.deepEqual(exchanged, ['alice', 'bob', 'carol'])
  await exchange(holder('bob'), ask())
  assert.deepEqual(exchanged, ['alice', 'bob', 'carol', 'bob'])
})

test('what is kept weighs no more than it may', async (context) => {
  const maxBytes = 20_000
  const { exchange, exchanged, store } = cache(context, { bytes: 2_000, maxBytes })
  for (let at = 0; at < 100; at++) await exchange(holder(`user ${at}`), ask())
  assert.ok(store.bytes <= maxBytes, String(store.bytes))
  assert.ok(store.size >= 5 && store.size < 10, String(store.size))
  await exchange(holder('user 99'), ask())
  assert.equal(exchanged.length, 100)
})

test('a token that is larger than all that may be kept is used and not kept', async (context) => {
  const { exchange, store } = cache(context, { bytes: 2_000, maxBytes: 1_000 })
  assert.equal(number(await exchange(holder('alice'), ask())), 1)
  assert.equal(store.size, 0)
})
