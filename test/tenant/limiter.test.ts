import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Limit, Tenant } from '../../src/tenant/index.ts'
import { createLimiter } from '../../src/tenant/limiter.ts'
import {
  ask,
  assertRefused,
  exchangeForm,
  passwordForm,
  STOREFRONT,
  startTenant,
  tokenOf,
  type Answered,
} from './ask.ts'

const START = 1_700_000_000_000

interface Limited {
  readonly tenant: Tenant
  pass(milliseconds: number): void
  exchange(): Promise<Answered>
}

async function limited(t: TestContext, limit?: Limit | false): Promise<Limited> {
  let now = START
  const tenant = await startTenant(t, {
    clock: () => now,
    ...(limit === undefined ? {} : { limit }),
  })
  const subject = await tenant.token({ user: 'alice', audience: STOREFRONT })
  return {
    tenant,
    pass: (milliseconds) => void (now += milliseconds),
    exchange: () => ask(tenant, exchangeForm(subject)),
  }
}

const headersOf = ({ headers }: Answered): readonly (string | null)[] =>
  ['limit', 'remaining', 'reset'].map((name) => headers.get(`x-ratelimit-${name}`))

test('a burst passes, and the next exchange is one too many', async (t) => {
  const { tenant, exchange } = await limited(t, { rate: 8, burst: 8 })
  for (let left = 7; left >= 0; left--) {
    const answered = await exchange()
    tokenOf(answered)
    assert.deepEqual(headersOf(answered), ['8', String(left), '1700000001'])
  }
  const refused = await exchange()
  assertRefused(refused, 429, 'too_many_requests')
  assert.equal(refused.body['error_description'], 'Global limit has been reached')
  assert.deepEqual(headersOf(refused), ['8', '0', '1700000001'])
  assert.equal(refused.headers.get('retry-after'), null)
  assert.deepEqual(tenant.limited(), { allowed: 8, refused: 1 })
  assert.equal(tenant.exchanges(), 9)
  assert.equal(tenant.requests().at(-1)?.outcome, 'too_many_requests')
})

test('at the reset that was told the whole burst passes again', async (t) => {
  const { tenant, exchange, pass } = await limited(t, { rate: 2, burst: 4 })
  for (let count = 0; count < 4; count++) tokenOf(await exchange())
  const refused = await exchange()
  pass(Number(refused.headers.get('x-ratelimit-reset')) * 1_000 - START)
  for (let count = 0; count < 4; count++) tokenOf(await exchange())
  assertRefused(await exchange(), 429, 'too_many_requests')
  assert.deepEqual(tenant.limited(), { allowed: 8, refused: 2 })
})

test('one exchange comes back with each part of a second, and not a millisecond before', async (t) => {
  const { exchange, pass } = await limited(t, { rate: 8, burst: 1 })
  tokenOf(await exchange())
  pass(124)
  assertRefused(await exchange(), 429, 'too_many_requests')
  pass(1)
  tokenOf(await exchange())
})

test('an exchange counts also when it is refused, and no other grant does', async (t) => {
  const { tenant, exchange } = await limited(t, { rate: 1, burst: 2 })
  assertRefused(await ask(tenant, exchangeForm('no token')), 401, 'invalid_grant')
  for (let count = 0; count < 3; count++) {
    const login = await ask(tenant, passwordForm())
    tokenOf(login)
    assert.deepEqual(headersOf(login), [null, null, null])
  }
  tokenOf(await exchange())
  assertRefused(await exchange(), 429, 'too_many_requests')
})

for (const limit of [undefined, false] as const) {
  test(`a tenant of limit ${String(limit)} allows every exchange, and tells of no limit`, async (t) => {
    const { tenant, exchange } = await limited(t, limit)
    for (let count = 0; count < 20; count++) {
      const answered = await exchange()
      tokenOf(answered)
      assert.deepEqual(headersOf(answered), [null, null, null])
    }
    assert.deepEqual(tenant.limited(), { allowed: 20, refused: 0 })
  })
}

for (const [rate, seconds] of [
  [2, 100],
  [3, 100],
  [8, 60],
  [30, 60],
  [0.1, 1_000],
  [7.7, 100],
] as const) {
  test(`at ${rate} a second, asked every millisecond for ${seconds} seconds, it allows neither more nor less`, () => {
    let now = START + 0.123
    const limiter = createLimiter({ rate, burst: 5 }, () => now)
    for (let passed = 0; passed < seconds * 1_000; passed++, now++) limiter.take()
    const { allowed, refused } = limiter.counts()
    assert.equal(allowed + refused, seconds * 1_000)
    // Each may come up to a millisecond after it could: that is how often it is asked.
    assert.ok(allowed <= 5 + rate * seconds, `${allowed}`)
    assert.ok(allowed >= 5 + (rate * seconds) / (1 + rate / 1_000) - 1, `${allowed}`)
  })
}

test('a clock that is set back empties the bucket and does not lock it', () => {
  let now = START
  const limiter = createLimiter({ rate: 1, burst: 1 }, () => now)
  limiter.take()
  now -= 3_600_000
  assert.equal(limiter.take().allowed, false)
  now += 1_000
  assert.equal(limiter.take().allowed, true)
})

for (const limit of [
  { rate: 0, burst: 1 },
  { rate: -1, burst: 1 },
  { rate: Number.NaN, burst: 1 },
  { rate: Number.POSITIVE_INFINITY, burst: 1 },
  { rate: 1, burst: 0 },
  { rate: 1, burst: 1.5 },
]) {
  test(`a rate of ${limit.rate} with a burst of ${limit.burst} is no limit`, () => {
    assert.throws(() => createLimiter(limit, Date.now), TypeError)
    assert.ok(createLimiter({ rate: 1, burst: 1 }, Date.now).take().allowed)
  })
}
