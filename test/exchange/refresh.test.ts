import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type TestContext } from 'node:test'
import { respond, startIssuer, type TestIssuer } from '../issuer.ts'
import {
  assertHeadersAllowed,
  oneRoute,
  startGateway,
  startUpstream,
  type Gateway,
  type Upstream,
} from '../system.ts'
import { EXCHANGE, LIFE, type Renewing, renewing } from './renewing.ts'

const ADMIN_TOKEN = 'a-token-of-the-operators-9f2c41d07ab6'

interface World extends Renewing {
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  readonly gateway: Gateway
  /** Lets so many seconds go by, for everybody. */
  pass(seconds: number): void
}

async function world(t: TestContext, setting: object = {}): Promise<World> {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const configuration = oneRoute({
    ...{ issuer: issuer.url, upstream: upstream.origin },
    exchange: { renew: 'refresh-token' },
    ...setting,
  })
  const gateway = await startGateway(t, {
    ...configuration,
    admin: { listen: '127.0.0.1:0', token: ADMIN_TOKEN },
  })
  const pass = (seconds: number): void => t.mock.timers.tick(seconds * 1_000)
  return Object.assign(renewing(issuer), { issuer, upstream, gateway, pass })
}

interface Answered {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

async function call({ gateway }: World, token: string, init: RequestInit = {}): Promise<Answered> {
  const response = await fetch(`${gateway.origin}/orders`, {
    ...init,
    headers: { authorization: `Bearer ${token}` },
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

async function assertContained({ gateway, upstream, issued }: World): Promise<void> {
  const metrics = await (await fetch(`${gateway.adminOrigin}/metrics`)).text()
  const seen = JSON.stringify(upstream.received) + gateway.logged() + metrics
  assert.ok(issued.length > 0)
  for (const token of issued) assert.equal(seen.includes(token), false, 'a refresh token is told')
}

test('what an exchange returned renews the issued token, time after time, against a tenant that rotates', async (t) => {
  const all = await world(t)
  const token = await all.issuer.token()

  const first = await call(all, token)
  const hit = await call(all, token)
  all.pass(LIFE)
  const second = await call(all, token)
  all.pass(LIFE)
  const third = await call(all, token)

  assert.deepEqual(
    [first, hit, second, third].map(({ status }) => status),
    [200, 200, 200, 200],
  )
  assert.deepEqual(all.asked(), ['exchange', 'refresh', 'refresh'])
  assert.equal(first.body['renewed'], undefined)
  assert.equal(third.body['renewed'], true)
  assert.equal(third.body['sub'], 'user|alice')
  const [exchange, refresh] = all.issuer.exchanges
  assert.equal(exchange?.get('scope'), 'orders:read offline_access')
  assert.equal(refresh?.get('subject_token'), null)
  assertHeadersAllowed(all.upstream)
  await assertContained(all)
})

test('without `renew` nothing is asked for offline, and each renewal is an exchange', async (t) => {
  const all = await world(t, { exchange: {} })
  const token = await all.issuer.token()

  await call(all, token)
  all.pass(LIFE)
  await call(all, token)

  assert.deepEqual(all.asked(), ['exchange', 'exchange'])
  assert.equal(all.issuer.exchanges[0]?.get('scope'), 'orders:read')
})

test('a refreshed subject token of the same context takes the family over', async (t) => {
  const all = await world(t)
  const before = await all.issuer.token({ sid: 'one' })
  const after = await all.issuer.token({ sid: 'one' })

  await call(all, before)
  const answer = await call(all, after)

  assert.equal(answer.status, 200)
  assert.deepEqual(all.asked(), ['exchange', 'refresh'])
})

for (const [what, claims] of [
  ['another user', { sub: 'user|bob', sid: 'one' }],
  ['another session', { sid: 'two' }],
  ['a token that was stepped up', { sid: 'one', acr: 'mfa' }],
] as const) {
  test(`${what} has no part in the family`, async (t) => {
    const all = await world(t)
    await call(all, await all.issuer.token({ sid: 'one' }))
    const answer = await call(all, await all.issuer.token(claims))

    assert.equal(answer.status, 200)
    assert.deepEqual(all.asked(), ['exchange', 'exchange'])
    assert.equal(answer.body['sub'], 'sub' in claims ? claims.sub : 'user|alice')
  })
}

test('twenty tokens of one context at once: one of them takes the family, the others are exchanged', async (t) => {
  const all = await world(t)
  await call(all, await all.issuer.token({ sid: 'one' }))
  const tokens = await Promise.all(
    Array.from({ length: 20 }, () => all.issuer.token({ sid: 'one' })),
  )
  const usual = all.issuer.answer
  all.issuer.answer = async (form, response) => {
    // Nobody is answered before all have asked.
    while (all.asked().length < 21) await sleep(5)
    return usual(form, response)
  }

  const answers = await Promise.all(tokens.map((token) => call(all, token)))

  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  assert.equal(all.asked().filter((one) => one === 'refresh').length, 1)
  // Nobody sent a token that was spent: every refresh token was redeemed at most once.
  const sent = all.issuer.exchanges.flatMap((form) => form.get('refresh_token') ?? [])
  assert.equal(new Set(sent).size, sent.length)
})

test('a family that was revoked costs one new exchange, and the next one is of the new family', async (t) => {
  const all = await world(t)
  const token = await all.issuer.token()
  await call(all, token)
  all.refusing = (form) =>
    form.get('grant_type') === 'refresh_token' ? { status: 403, error: 'invalid_grant' } : undefined
  all.pass(LIFE)

  const revoked = await call(all, token)
  all.refusing = undefined
  all.pass(LIFE)
  const next = await call(all, token)

  assert.deepEqual([revoked.status, next.status], [200, 200])
  assert.deepEqual(all.asked(), ['exchange', 'refresh', 'exchange', 'refresh'])
})

for (const [what, status] of [
  ['an error of the issuer’s', 500],
  ['a grant that the client does not have', 400],
] as const) {
  test(`${what} costs one new exchange`, async (t) => {
    const all = await world(t)
    const token = await all.issuer.token()
    await call(all, token)
    const error = status === 400 ? 'unauthorized_client' : 'server_error'
    all.refusing = (form) =>
      form.get('grant_type') === 'refresh_token' ? { status, error } : undefined
    all.pass(LIFE)

    const answer = await call(all, token)

    assert.equal(answer.status, 200)
    assert.deepEqual(all.asked(), ['exchange', 'refresh', 'exchange'])
  })
}

test('a refresh whose answer does not come costs one new exchange in time, and is never sent again', async (t) => {
  const all = await world(t, { exchange: { renew: 'refresh-token', timeout: '3s' } })
  const token = await all.issuer.token()
  await call(all, token)
  all.pass(LIFE)
  const usual = all.issuer.answer
  all.issuer.answer = async (form, response) => {
    if (form.get('grant_type') === 'refresh_token') await sleep(20_000, undefined, { ref: false })
    return usual(form, response)
  }

  const answer = await call(all, token)

  assert.equal(answer.status, 200)
  assert.deepEqual(all.asked(), ['exchange', 'refresh', 'exchange'])
})

test('a throttled refresh leaves the family as it is', async (t) => {
  const all = await world(t)
  const token = await all.issuer.token()
  await call(all, token)
  all.refusing = () => ({ status: 429, error: 'too_many_requests' })
  all.pass(LIFE)
  const throttled = await call(all, token)
  all.refusing = undefined
  all.pass(2)

  const answer = await call(all, token)

  assert.equal(throttled.status, 503)
  assert.equal(answer.status, 200)
  assert.deepEqual(all.asked(), ['exchange', 'refresh', 'refresh'])
})

test('a subject that was refused is never served by a family again', async (t) => {
  const all = await world(t)
  const [before, refused, after] = await Promise.all(
    ['a', 'b', 'c'].map(async () => all.issuer.token({ sid: 'one' })),
  )
  await call(all, before!)
  // The family is taken by nobody: the tenant has revoked it, and then refuses the subject, too.
  all.refusing = () => ({ status: 403, error: 'invalid_grant' })
  const answer = await call(all, refused!)
  all.refusing = undefined
  const next = await call(all, after!)

  assert.equal(answer.status, 401)
  assert.equal(next.status, 200)
  assert.deepEqual(all.asked(), ['exchange', 'refresh', 'exchange', 'exchange'])
})

test('a family that somebody has in hand while its subject is refused is not put back', async (t) => {
  const all = await world(t)
  const [before, renewing, refused, after] = await Promise.all(
    ['a', 'b', 'c', 'd'].map(async () => all.issuer.token({ sid: 'one' })),
  )
  await call(all, before!)
  const usual = all.issuer.answer
  let finish = (): void => undefined
  all.issuer.answer = async (form, response) => {
    if (form.get('grant_type') === EXCHANGE)
      return respond(response, { error: 'invalid_grant' }, 400)
    await new Promise<void>((resolve) => (finish = resolve))
    return usual(form, response)
  }
  const renewal = call(all, renewing!)
  while (all.asked().length < 2) await sleep(5)
  assert.equal((await call(all, refused!)).status, 401)
  finish()
  assert.equal((await renewal).status, 200)
  all.issuer.answer = usual

  assert.equal((await call(all, after!)).status, 200)
  assert.deepEqual(all.asked(), ['exchange', 'refresh', 'exchange', 'exchange'])
})

test('a purge reaches the family, also one that is in somebody’s hands', async (t) => {
  const all = await world(t)
  const token = await all.issuer.token()
  const purge = (): Promise<Response> =>
    fetch(`${all.gateway.adminOrigin}/purge`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_TOKEN}` },
      body: JSON.stringify({ subject: 'user|alice' }),
    })
  await call(all, token)
  assert.ok((await purge()).ok)
  await call(all, token)
  assert.deepEqual(all.asked(), ['exchange', 'exchange'])

  all.pass(LIFE)
  all.slowMs = 500
  const renewing = call(all, token)
  while (all.asked().length < 3) await sleep(5)
  assert.ok((await purge()).ok)
  assert.equal((await renewing).status, 200)
  all.slowMs = 0
  await call(all, token)
  assert.deepEqual(all.asked(), ['exchange', 'exchange', 'refresh', 'exchange'])
})

test('a caller that leaves while its refresh is on its way costs no family', async (t) => {
  const all = await world(t)
  const token = await all.issuer.token()
  await call(all, token)
  all.pass(LIFE)
  all.slowMs = 500
  const controller = new AbortController()
  const gone = call(all, token, { signal: controller.signal })
  gone.catch(() => undefined)
  while (all.asked().length < 2) await sleep(5)
  controller.abort()
  await assert.rejects(gone)
  while (all.issued.length < 2) await sleep(5)
  all.slowMs = 0
  await sleep(100)

  all.pass(LIFE)
  const answer = await call(all, token)

  assert.equal(answer.status, 200)
  assert.deepEqual(all.asked(), ['exchange', 'refresh', 'refresh'])
})

test('a refresh token that does not rotate is good again', async (t) => {
  const all = await world(t)
  const usual = all.issuer.answer
  all.issuer.answer = async (form, response) => {
    if (form.get('grant_type') === EXCHANGE) return usual(form, response)
    const access_token = await all.issuer.sign({
      ...{ sub: 'user|alice', aud: 'https://orders.internal', scope: 'orders:read' },
    })
    respond(response, { access_token, token_type: 'Bearer', expires_in: LIFE })
  }
  const token = await all.issuer.token()
  await call(all, token)
  all.pass(LIFE)
  await call(all, token)
  all.pass(LIFE)
  const answer = await call(all, token)

  assert.equal(answer.status, 200)
  assert.deepEqual(all.asked(), ['exchange', 'refresh', 'refresh'])
})

test('a refreshed token of another user is never forwarded, and its family is not used again', async (t) => {
  const all = await world(t)
  const usual = all.issuer.answer
  all.issuer.answer = async (form, response) => {
    if (form.get('grant_type') === EXCHANGE) return usual(form, response)
    const access_token = await all.issuer.sign({
      ...{ sub: 'user|mallory', aud: 'https://orders.internal', scope: 'orders:read' },
    })
    respond(response, {
      access_token,
      token_type: 'Bearer',
      refresh_token: 'another',
      expires_in: 1,
    })
  }
  const token = await all.issuer.token()
  await call(all, token)
  all.pass(LIFE)
  const answer = await call(all, token)

  assert.equal(answer.body['sub'], 'user|alice')
  assert.deepEqual(all.asked(), ['exchange', 'refresh', 'exchange'])
  assert.doesNotMatch(JSON.stringify(all.upstream.received), /mallory/)
})
