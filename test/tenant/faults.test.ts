import assert from 'node:assert/strict'
import http from 'node:http'
import { test, type TestContext } from 'node:test'
import type { Fault, Tenant, TenantOptions } from '../../src/tenant/index.ts'
import {
  ask,
  assertRefused,
  BACKOFFICE,
  BACKOFFICE_CLIENT,
  BACKOFFICE_SIGNING_SECRET,
  exchangeForm,
  ORDERS,
  passwordForm,
  startTenant,
  STOREFRONT,
  tokenOf,
  verified,
  type Answered,
} from './ask.ts'

interface Faulted {
  readonly tenant: Tenant
  exchange(): Promise<Answered>
}

async function faulted(t: TestContext, options: TenantOptions = {}): Promise<Faulted> {
  const tenant = await startTenant(t, options)
  const subject = await tenant.token({ user: 'alice', audience: STOREFRONT })
  return { tenant, exchange: () => ask(tenant, exchangeForm(subject)) }
}

/** What a good exchange gives, in each of the members that a fault can get wrong. */
async function assertGood(tenant: Tenant, answered: Answered): Promise<void> {
  const { claims } = await verified(tenant, tokenOf(answered))
  const { sub, aud, scope } = claims
  assert.deepEqual([sub, aud, scope], ['auth0|alice', ORDERS, 'orders:read'])
  assert.equal('scope' in answered.body, false)
}

const clock = (): number => 1_700_000_000_250

for (const [fault, retryAfter, reset] of [
  [{ kind: 'too_many_requests' }, null, '1700000002'],
  [{ kind: 'too_many_requests', resetAfterSeconds: 30 }, null, '1700000031'],
  [{ kind: 'too_many_requests', resetAfterSeconds: 5, retryAfterSeconds: 7 }, '7', '1700000006'],
] as const) {
  test(`${JSON.stringify(fault)} is told as a limit is, once`, async (t) => {
    const { tenant, exchange } = await faulted(t, { clock })
    tenant.fault({ ...fault, times: 1 })
    const refused = await exchange()
    assertRefused(refused, 429, 'too_many_requests')
    const told = ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'retry-after']
    assert.deepEqual(
      told.map((name) => refused.headers.get(name)),
      ['8', '0', reset, retryAfter],
    )
    const next = await exchange()
    tokenOf(next)
    assert.equal(next.headers.get('x-ratelimit-reset'), null)
    assert.deepEqual(tenant.limited(), { allowed: 2, refused: 0 })
  })
}

test('what is beyond the limit uses up no fault', async (t) => {
  let now = 1_700_000_000_000
  const { tenant, exchange } = await faulted(t, {
    clock: () => now,
    limit: { rate: 1, burst: 1 },
  })
  tokenOf(await exchange())
  tenant.fault({ kind: 'server_error', times: 1 })
  assertRefused(await exchange(), 429, 'too_many_requests')
  now += 1_000
  assertRefused(await exchange(), 500, 'server_error')
  now += 1_000
  tokenOf(await exchange())
})

for (const [status, fault] of [
  [500, { kind: 'server_error' }],
  [503, { kind: 'server_error', status: 503 }],
] as const) {
  test(`server_error answers ${status} and spends no refresh token`, async (t) => {
    const tenant = await startTenant(t)
    const login = await ask(tenant, passwordForm({ scope: 'read:orders offline_access' }))
    const form = {
      grant_type: 'refresh_token',
      client_id: 'spa',
      refresh_token: String(login.body['refresh_token']),
    }
    tenant.fault({ ...fault, grantType: 'refresh_token', times: 1 })
    assertRefused(await ask(tenant, form), status, 'server_error')
    tokenOf(await ask(tenant, form))
  })
}

for (const [fault, type, body] of [
  [{ kind: 'garbage' }, 'text/html; charset=utf-8', /^<!doctype html>/],
  [{ kind: 'garbage', body: '' }, 'text/html; charset=utf-8', /^$/],
  [
    { kind: 'garbage', body: '{"access_token":' },
    'text/html; charset=utf-8',
    /^\{"access_token":$/,
  ],
] as const) {
  test(`${JSON.stringify(fault)} is a 200 that no client can read`, async (t) => {
    const { tenant, exchange } = await faulted(t)
    const token = await tenant.token({ user: 'alice', audience: STOREFRONT })
    tenant.fault({ ...fault, times: 1 })
    const form = new URLSearchParams(exchangeForm(token) as Record<string, string>)
    const answer = await fetch(`${tenant.url}oauth/token`, { method: 'POST', body: form })
    assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, type])
    assert.match(await answer.text(), body)
    assert.equal(tenant.requests().at(-1)?.outcome, 'ok')
    await assertGood(tenant, await exchange())
  })
}

for (const [fault, claims] of [
  [{ kind: 'wrong_sub' }, ['auth0|somebody-else', ORDERS, 'orders:read']],
  [{ kind: 'wrong_sub', subject: 'auth0|bob' }, ['auth0|bob', ORDERS, 'orders:read']],
  [{ kind: 'wrong_aud' }, ['auth0|alice', 'https://elsewhere.example', 'orders:read']],
  [{ kind: 'wrong_aud', audience: STOREFRONT }, ['auth0|alice', STOREFRONT, 'orders:read']],
  [{ kind: 'wrong_scope' }, ['auth0|alice', ORDERS, 'orders:read admin:everything']],
  [{ kind: 'wrong_scope', scope: 'a b' }, ['auth0|alice', ORDERS, 'orders:read a b']],
] as const) {
  test(`${JSON.stringify(fault)} is in a token that is signed well, once`, async (t) => {
    const { tenant, exchange } = await faulted(t)
    tenant.fault({ ...fault, times: 1 })
    const answered = await exchange()
    const { claims: got, header } = await verified(tenant, tokenOf(answered))
    assert.deepEqual([got.sub, got.aud, got['scope']], claims)
    assert.deepEqual(got['act'], { sub: 'storefront-gateway', act: { sub: 'spa' } })
    assert.equal(header['typ'], 'JWT')
    const told = fault.kind === 'wrong_scope' ? claims[2] : undefined
    assert.equal(answered.body['scope'], told)
    await assertGood(tenant, await exchange())
  })
}

test('a forgery for an API with a secret is signed with that secret', async (t) => {
  const tenant = await startTenant(t)
  tenant.state.resourceServers.get(ORDERS)!.signing_alg = 'HS256'
  tenant.state.resourceServers.get(ORDERS)!.signing_secret = BACKOFFICE_SIGNING_SECRET
  const subject = await tenant.token({ user: 'alice', audience: BACKOFFICE })
  tenant.fault({ kind: 'wrong_sub' })
  const answered = await ask(tenant, exchangeForm(subject, BACKOFFICE_CLIENT))
  const { claims } = await verified(tenant, tokenOf(answered), BACKOFFICE_SIGNING_SECRET)
  assert.equal(claims.sub, 'auth0|somebody-else')
})

test('a slow answer is judged at once and comes late', async (t) => {
  const { tenant, exchange } = await faulted(t)
  tenant.fault({ kind: 'slow', delayMs: 400, times: 1 })
  const startedAt = performance.now()
  const answered = exchange()
  while (tenant.exchanges() === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal(tenant.requests().at(-1)?.outcome, 'ok')
  await assertGood(tenant, await answered)
  // Timers may fire up to a millisecond early.
  assert.ok(performance.now() - startedAt >= 399)
})

test('a slow refusal comes late, too', async (t) => {
  const { tenant } = await faulted(t)
  tenant.fault({ kind: 'slow', delayMs: 200 })
  const startedAt = performance.now()
  assertRefused(await ask(tenant, exchangeForm('no token')), 401, 'invalid_grant')
  assert.ok(performance.now() - startedAt >= 199)
})

test('a caller that does not wait for a slow answer has had its request judged', async (t) => {
  const { tenant } = await faulted(t)
  const login = await ask(tenant, passwordForm({ scope: 'read:orders offline_access' }))
  const form = {
    grant_type: 'refresh_token',
    client_id: 'spa',
    refresh_token: String(login.body['refresh_token']),
  }
  tenant.fault({ kind: 'slow', delayMs: 120_000, grantType: 'refresh_token', times: 1 })
  const body = new URLSearchParams(form)
  const signal = AbortSignal.timeout(300)
  await assert.rejects(fetch(`${tenant.url}oauth/token`, { method: 'POST', body, signal }))
  while (tenant.requests().length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
  // It was rotated, and the caller does not have what replaced it.
  assertRefused(await ask(tenant, form), 403, 'invalid_grant')
})

test('a tenant that still holds an answer back closes at once', async (t) => {
  const { tenant, exchange } = await faulted(t)
  tenant.fault({ kind: 'slow', delayMs: 120_000 })
  const answered = exchange()
  const failed = assert.rejects(answered)
  while (tenant.exchanges() === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  await tenant.close()
  await failed
})

test('faults come in their order, each as often as it says', async (t) => {
  const { tenant, exchange } = await faulted(t)
  tenant.fault({ kind: 'server_error', status: 502, times: 2 })
  tenant.fault({ kind: 'too_many_requests', times: 1 })
  const statuses: number[] = []
  for (let count = 0; count < 4; count++) statuses.push((await exchange()).status)
  assert.deepEqual(statuses, [502, 502, 429, 200])
})

test('a fault without times lasts until it is cleared', async (t) => {
  const { tenant, exchange } = await faulted(t)
  tenant.fault({ kind: 'server_error' })
  for (let count = 0; count < 5; count++) assert.equal((await exchange()).status, 500)
  tenant.clearFaults()
  tokenOf(await exchange())
})

test('a fault is of exchanges, or of the grant type that it names', async (t) => {
  const { tenant, exchange } = await faulted(t)
  tenant.fault({ kind: 'server_error' })
  tokenOf(await ask(tenant, passwordForm()))
  assert.equal((await exchange()).status, 500)
  tenant.clearFaults()
  tenant.fault({ kind: 'server_error', grantType: 'password' })
  assert.equal((await ask(tenant, passwordForm())).status, 500)
  tokenOf(await exchange())
})

const GOOD = { kind: 'server_error', times: 1 }

for (const [what, fault] of [
  ['of no kind', { times: 1 }],
  ['of an unknown kind', { kind: 'slwo', delayMs: 1 }],
  ['of a kind that only objects have', { kind: 'constructor' }],
  ['with a member of another kind', { kind: 'garbage', status: 500 }],
  ['of no times', { kind: 'garbage', times: 0 }],
  ['of half a time', { kind: 'garbage', times: 0.5 }],
  ['that is slow without a delay', { kind: 'slow' }],
  ['that is slower than two minutes', { kind: 'slow', delayMs: 120_001 }],
  ['of the server with a status of success', { kind: 'server_error', status: 200 }],
  ['with an empty subject', { kind: 'wrong_sub', subject: '' }],
  ['that is a list', [GOOD]],
  ['that is a word', 'slow'],
] as const) {
  test(`a fault ${what} is refused, here and by HTTP`, async (t) => {
    const { tenant, exchange } = await faulted(t)
    assert.throws(() => tenant.fault(fault as unknown as Fault), TypeError)
    assert.equal((await faults(tenant, fault)).status, 400)
    tokenOf(await exchange())
    assert.equal((await faults(tenant, GOOD)).status, 201)
    assert.equal((await exchange()).status, 500)
  })
}

function faults(
  tenant: Tenant,
  fault: unknown,
  headers: Readonly<Record<string, string>> = { 'content-type': 'application/json' },
): Promise<Response> {
  const body = JSON.stringify(fault)
  return fetch(`${tenant.url}_tenant/faults`, { method: 'POST', body, headers })
}

test('POST /_tenant/faults adds a fault, and DELETE clears them', async (t) => {
  const { tenant, exchange } = await faulted(t)
  const added = await faults(tenant, { kind: 'server_error', status: 503 })
  assert.deepEqual([added.status, await added.json()], [201, { kind: 'server_error', status: 503 }])
  assertRefused(await exchange(), 503, 'server_error')
  const cleared = await fetch(`${tenant.url}_tenant/faults`, { method: 'DELETE' })
  assert.equal(cleared.status, 204)
  tokenOf(await exchange())
})

test('a fault that is sent as a form is none', async (t) => {
  const { tenant, exchange } = await faulted(t)
  for (const type of ['text/plain', 'application/x-www-form-urlencoded']) {
    assert.equal((await faults(tenant, GOOD, { 'content-type': type })).status, 400)
  }
  tokenOf(await exchange())
})

for (const [host, status] of [
  ['localhost:9400', 201],
  ['127.0.0.1', 201],
  ['127.8.9.10:80', 201],
  ['[::1]:9400', 201],
  ['attacker.example', 403],
  ['127.0.0.1.attacker.example:9400', 403],
  ['localhost.attacker.example', 403],
  ['192.0.2.1:9400', 403],
] as const) {
  test(`the faults answer ${status} to a caller that calls this machine '${host}'`, async (t) => {
    const { tenant, exchange } = await faulted(t)
    const answered = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { host, 'content-type': 'application/json' }
      const request = http.request(`${tenant.url}_tenant/faults`, { method: 'POST', headers })
      request.on('response', (response) => resolve(response.resume().statusCode))
      request.on('error', reject).end(JSON.stringify(GOOD))
    })
    assert.equal(answered, status)
    assert.equal((await exchange()).status, status === 201 ? 500 : 200)
  })
}
