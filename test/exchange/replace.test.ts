import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { authorize, type Permit } from '../../src/authorize/authorize.ts'
import { GatewayError } from '../../src/errors.ts'
import type { Ask, Exchange } from '../../src/exchange/exchange.ts'
import { refusalKey } from '../../src/exchange/key.ts'
import { createPurges } from '../../src/exchange/purge.ts'
import { type Replaced, replacing } from '../../src/exchange/replace.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { ask, issuedToken, route, subject } from '../support.ts'

const ONE = route()
const holder = (digest: string): Permit => authorize(subject({ digest }), ONE)
const OLD = issuedToken({ value: 'old' })

function replacer(context: TestContext, rate?: number) {
  context.mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 })
  const asked: Ask[] = []
  const dropped: string[] = []
  const exchange: Exchange = async (_permit, own) => {
    asked.push(own)
    return issuedToken({ value: `new ${asked.length}` })
  }
  const replaced = createMemoryStore<Replaced>({ maxEntries: 100, maxBytes: 1_000_000 })
  const store = { delete: (key: string) => void dropped.push(key) }
  const refusals = createMemoryStore<GatewayError>({ maxEntries: 100, maxBytes: 1_000_000 })
  const purges = createPurges()
  const options = { store, replaced, refusals, purges, rateOf: () => rate }
  return { exchange: replacing(exchange, options), asked, dropped, refusals, purges }
}

test('a refused token is dropped and exchanged once more, behind those who wait', async (context) => {
  const { exchange, asked, dropped } = replacer(context)
  assert.equal((await exchange(holder('alice'), ask({ instead: OLD }))).value, 'new 1')
  assert.equal(asked[0]!.background, true)
  assert.equal(dropped.length, 1)
})

test('all who were refused with the same token have one exchange', async (context) => {
  const { exchange, asked } = replacer(context)
  const tokens = await Promise.all(
    Array.from({ length: 50 }, async () => exchange(holder('alice'), ask({ instead: OLD }))),
  )
  assert.deepEqual(new Set(tokens.map(({ value }) => value)), new Set(['new 1']))
  assert.equal(asked.length, 1)
})

test('the next token of that key is not replaced for 10 s, and stays', async (context) => {
  const { exchange, asked, dropped } = replacer(context)
  const next = await exchange(holder('alice'), ask({ instead: OLD }))
  context.mock.timers.tick(10_000)
  await assert.rejects(async () => exchange(holder('alice'), ask({ instead: next })), {
    code: 'upstream_rejected_token',
  })
  assert.deepEqual([asked.length, dropped.length], [1, 1])
  context.mock.timers.tick(1)
  assert.equal((await exchange(holder('alice'), ask({ instead: next }))).value, 'new 2')
})

test('what came in its place before a purge is nobody’s after it', async (context) => {
  const { exchange, asked, purges } = replacer(context)
  const again = async (): Promise<string> =>
    (await exchange(holder('alice'), ask({ instead: OLD }))).value
  assert.equal(await again(), 'new 1')
  purges.purge({ subject: 'bob' })
  assert.equal(await again(), 'new 1')

  purges.purge({ subject: 'alice' })

  assert.equal(await again(), 'new 2')
  assert.equal(await again(), 'new 2')
  assert.equal(asked.length, 2)
})

test('another key is another matter', async (context) => {
  const { exchange, asked } = replacer(context)
  await exchange(holder('alice'), ask({ instead: OLD }))
  await exchange(holder('bob'), ask({ instead: OLD }))
  assert.equal(asked.length, 2)
})

test('an upstream that refuses everything costs a hundredth of the budget', async (context) => {
  const { exchange, asked, dropped } = replacer(context, 8)
  let rejected = 0
  for (let at = 0; at < 10 * 60_000; at += 500) {
    try {
      await exchange(holder(`user ${at}`), ask({ instead: OLD }))
    } catch (error) {
      assert.equal((error as GatewayError).code, 'upstream_rejected_token')
      rejected++
    }
    context.mock.timers.tick(500)
  }
  assert.equal(asked.length, 48)
  assert.equal(dropped.length, 48)
  assert.equal(rejected, 1_200 - 48)
})

test('without a token in the way nothing is replaced', async (context) => {
  const { exchange, asked, dropped } = replacer(context)
  await exchange(holder('alice'), ask())
  assert.equal(asked[0]!.background, undefined)
  assert.equal(dropped.length, 0)
})

test('where the upstream asks the user for more, what is kept goes, within the share of the budget', async (context) => {
  const { exchange, dropped, refusals } = replacer(context, 1)
  const refusal = new GatewayError('insufficient_user_authentication', 'no')
  const [one, other] = [holder('alice'), holder('bob')]
  const own = ask({ instead: OLD })
  await exchange(one, own)
  own.asksForMore?.(refusal)
  assert.equal(dropped.length, 2)
  assert.equal(refusals.get(refusalKey(one))?.code, refusal.code)
  // At one exchange a second its share is one in a hundred seconds.
  const late = ask({ instead: OLD })
  await assert.rejects(async () => exchange(other, late))
  late.asksForMore?.(refusal)
  assert.equal(dropped.length, 2)
  assert.equal(refusals.get(refusalKey(other))?.code, refusal.code)
  context.mock.timers.tick(100_000)
  late.asksForMore?.(refusal)
  assert.equal(dropped.length, 3)
})
