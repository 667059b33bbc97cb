import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Fault } from '../../src/tenant/index.ts'
import { ask, startTenant, STOREFRONT, STOREFRONT_CLIENT, tokenOf } from './ask.ts'
import { assertFailed, call, called, type Json } from './management.ts'

const APP = { name: 'app' }

test('a token for the Management API is had by client credentials, in its scopes', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  const { clientId: client_id, clientSecret: client_secret } = tenant.management
  const form = { grant_type: 'client_credentials', audience: `${tenant.url}api/v2/` }
  const answer = await ask(tenant, { ...form, client_id, client_secret, scope: 'read:clients' })
  assert.equal(answer.body['expires_in'], 86_400)
  const token = tokenOf(answer)
  assert.equal((await call(tenant, 'GET /clients', { token })).status, 200)
  assertFailed(await call(tenant, 'POST /clients', { token, body: APP }), 403, 'insufficient_scope')
})

test('the client that may manage can be given', async (t) => {
  const management = { clientId: 'manager', clientSecret: 'only-for-this-test' }
  const tenant = await startTenant(t, { empty: true, management })
  assert.deepEqual(tenant.management, management)
  assert.equal((await call(tenant, 'GET /clients')).status, 200)
})

test('other clients of the tenant are not let in, and are told so as Auth0 tells it', async (t) => {
  const tenant = await startTenant(t)
  const answer = await ask(tenant, {
    grant_type: 'client_credentials',
    ...STOREFRONT_CLIENT,
    audience: `${tenant.url}api/v2/`,
  })
  assert.equal(answer.status, 403)
  const token = await tenant.token({ user: 'alice', audience: STOREFRONT })
  assertFailed(await call(tenant, 'GET /clients', { token }), 401)
})

for (const [what, token] of [
  ['none', null],
  ['one that is no token', 'nonsense'],
  ['one that nobody signed', 'eyJhbGciOiJub25lIn0.e30.'],
] as const) {
  test(`a call with ${what} is refused, whatever it is for`, async (t) => {
    const tenant = await startTenant(t)
    for (const request of ['GET /clients', 'POST /clients', 'DELETE /clients/spa']) {
      assertFailed(await call(tenant, request, { token }), 401)
    }
    assert.ok(tenant.state.clients.has('spa'))
  })
}

test('a token is good until it expires, and as long as its key is known', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
  const tenant = await startTenant(t)
  const token = await tenant.managementToken()
  t.mock.timers.setTime(1_700_086_399_000)
  assert.equal((await call(tenant, 'GET /clients', { token })).status, 200)
  t.mock.timers.setTime(1_700_086_400_000)
  const expired = await call(tenant, 'GET /clients', { token })
  assertFailed(expired, 401)
  assert.match(String(expired.body['message']), /^Expired token/)
  const other = await tenant.managementToken()
  await tenant.rotateKeys()
  assert.equal((await call(tenant, 'GET /clients', { token: other })).status, 200)
  tenant.dropPreviousKeys()
  assertFailed(await call(tenant, 'GET /clients', { token: other }), 401)
})

for (const [request, scope] of [
  ['GET /resource-servers', 'read:resource_servers'],
  ['POST /resource-servers', 'create:resource_servers'],
  ['PATCH /resource-servers/x', 'update:resource_servers'],
  ['DELETE /resource-servers/x', 'delete:resource_servers'],
  ['GET /clients', 'read:clients'],
  ['POST /clients', 'create:clients'],
  ['PATCH /clients/x', 'update:clients'],
  ['DELETE /clients/x', 'delete:clients'],
  ['GET /clients/x/credentials', 'read:client_credentials'],
  ['POST /clients/x/credentials', 'create:client_credentials'],
  ['POST /clients/x/rotate-secret', 'update:client_keys'],
  ['GET /client-grants', 'read:client_grants'],
  ['POST /client-grants', 'create:client_grants'],
  ['PATCH /client-grants/x', 'update:client_grants'],
  ['DELETE /client-grants/x', 'delete:client_grants'],
] as const) {
  test(`${request} needs ${scope}`, async (t) => {
    const tenant = await startTenant(t)
    const other = scope === 'read:client_grants' ? 'read:clients' : 'read:client_grants'
    const refused = await call(tenant, request, { scope: other })
    assertFailed(refused, 403, 'insufficient_scope')
    assert.ok(String(refused.body['message']).includes(scope))
    assert.notEqual((await call(tenant, request, { scope })).status, 403)
  })
}

test('a body that is no JSON object is refused', async (t) => {
  const tenant = await startTenant(t)
  const authorization = `Bearer ${await tenant.managementToken()}`
  for (const body of ['{"name":', '"text"', '[]', 'null']) {
    const response = await fetch(`${tenant.url}api/v2/clients`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body,
    })
    assert.equal(response.status, 400, body)
    assert.equal(((await response.json()) as Json)['errorCode'], 'invalid_body')
  }
})

test('what is not there is not found, in the same envelope', async (t) => {
  const tenant = await startTenant(t)
  const response = await fetch(`${tenant.url}api/v2/users`)
  assert.equal(response.status, 404)
  assert.equal(((await response.json()) as Json)['statusCode'], 404)
  const known = await call(tenant, 'PATCH /resource-servers/nowhere', { body: {} })
  assertFailed(known, 404, 'inexistent_resource_server')
})

test('calls beyond the limit are refused until it is over, and every answer tells of it', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
  const tenant = await startTenant(t, { managementLimit: { rate: 1, burst: 2 } })
  const token = await tenant.managementToken()
  const first = await call(tenant, 'GET /clients', { token })
  assert.equal(first.headers.get('x-ratelimit-limit'), '2')
  assert.equal(first.headers.get('x-ratelimit-remaining'), '1')
  assert.equal(first.headers.get('x-ratelimit-reset'), '1700000001')
  await called(tenant, 'GET /clients', undefined, { token })
  assertFailed(await call(tenant, 'GET /clients', { token }), 429, 'too_many_requests')
  t.mock.timers.setTime(1_700_000_001_000)
  assert.equal((await call(tenant, 'GET /clients', { token })).status, 200)
})

test('calls are told in order, with what was decided', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  await called(tenant, 'POST /clients', APP)
  await call(tenant, 'GET /clients?per_page=0&page=x')
  assert.deepEqual(
    tenant.managementCalls().map(({ method, target, status }) => [method, target, status]),
    [
      ['POST', '/api/v2/clients', 201],
      ['GET', '/api/v2/clients?per_page=0&page=x', 400],
    ],
  )
  assert.deepEqual(tenant.managementCalls()[0]?.body, APP)
})

for (const [fault, status] of [
  [{ kind: 'server_error' }, 500],
  [{ kind: 'server_error', status: 502 }, 502],
  [{ kind: 'too_many_requests', retryAfterSeconds: 3 }, 429],
  [{ kind: 'conflict' }, 409],
] as const) {
  test(`${fault.kind} ${status} is answered once, and nothing is done`, async (t) => {
    const tenant = await startTenant(t, { empty: true })
    tenant.fault({ ...fault, management: 'POST /clients', times: 1 })
    assert.equal((await call(tenant, 'GET /clients')).status, 200)
    assertFailed(await call(tenant, 'POST /clients', { body: APP }), status)
    assert.equal(tenant.state.clients.size, 0)
    await called(tenant, 'POST /clients', APP)
  })
}

test('an answer that is unsure or lost is of something that was done', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  tenant.fault({ kind: 'unsure', times: 1 })
  assertFailed(await call(tenant, 'POST /clients', { body: APP }), 503)
  assert.equal(tenant.state.clients.size, 1)
  tenant.fault({ kind: 'lost_answer', times: 1 })
  await assert.rejects(call(tenant, 'POST /clients', { body: APP }))
  assert.equal(tenant.state.clients.size, 2)
  assert.deepEqual(
    tenant.managementCalls().map(({ status }) => status),
    [201, 201],
  )
})

test('reads can stay behind a write for a while', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
  const tenant = await startTenant(t, { empty: true })
  const names = async () => {
    const all = (await called(tenant, 'GET /clients')) as unknown as Json[]
    return all.map(({ name }) => name).slice(1)
  }
  tenant.fault({ kind: 'stale', delayMs: 200, times: 1 })
  assert.deepEqual(await names(), [], 'a read does not use it up')
  const { client_id: id } = await called(tenant, 'POST /clients', APP)
  assert.deepEqual(await names(), [])
  assertFailed(await call(tenant, `GET /clients/${String(id)}`), 404)
  const changed = await called(tenant, `PATCH /clients/${String(id)}`, { name: 'changed' })
  assert.equal(changed['name'], 'changed')
  assert.deepEqual(await names(), [])
  t.mock.timers.setTime(1_700_000_000_200)
  assert.deepEqual(await names(), ['changed'])
})

test('faults of the Management API leave tokens alone, and theirs leave it alone', async (t) => {
  const tenant = await startTenant(t)
  tenant.fault({ kind: 'server_error', management: '* /*' })
  const token = await tenant.token({ user: 'alice', audience: STOREFRONT })
  assert.ok(token.length > 0)
  tenant.clearFaults()
  tenant.fault({ kind: 'server_error' })
  await called(tenant, 'GET /clients')
})

for (const [what, fault] of [
  ['of tokens at the Management API', { kind: 'wrong_sub', management: '* /*' }],
  ['with two scopes', { kind: 'slow', delayMs: 1, management: '* /*', grantType: 'password' }],
  ['of unknown calls', { kind: 'conflict', management: 'PUT /users' }],
  ['that is late by nothing', { kind: 'stale' }],
] as const) {
  test(`a fault ${what} is none`, async (t) => {
    const tenant = await startTenant(t)
    assert.throws(() => tenant.fault(fault as unknown as Fault), TypeError)
  })
}
