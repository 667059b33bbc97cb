import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Tenant } from '../../src/tenant/index.ts'
import {
  ask,
  assertRefused,
  ORDERS,
  passwordForm,
  startTenant,
  STOREFRONT,
  tokenOf,
  verified,
  type Answered,
  type Parameters,
} from './ask.ts'

const SECOND = 1_000
const DAY = 86_400 * SECOND

interface Clocked {
  readonly tenant: Tenant
  pass(milliseconds: number): void
}

async function clocked(t: TestContext): Promise<Clocked> {
  let now = 1_700_000_000_000
  const tenant = await startTenant(t, { clock: () => now })
  return { tenant, pass: (milliseconds) => void (now += milliseconds) }
}

async function login(tenant: Tenant, changes: Parameters = {}): Promise<string> {
  const scope = 'read:orders write:orders offline_access'
  const { body } = await ask(tenant, passwordForm({ scope, ...changes }))
  assert.equal(typeof body['refresh_token'], 'string')
  return String(body['refresh_token'])
}

function refresh(tenant: Tenant, token: string, changes: Parameters = {}): Promise<Answered> {
  const form = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: token }
  return ask(tenant, { ...form, ...changes })
}

const nextOf = (answered: Answered): string => String(answered.body['refresh_token'])

test('offline_access gives a refresh token where the API and the client allow it', async (t) => {
  const tenant = await startTenant(t)
  const form = passwordForm({ scope: 'read:orders offline_access' })
  const allowed = await ask(tenant, form)
  assert.equal(typeof allowed.body['refresh_token'], 'string')
  assert.equal('scope' in allowed.body, false)
  for (const without of [
    passwordForm({ scope: 'read:orders' }),
    passwordForm({ scope: undefined }),
  ]) {
    assert.equal('refresh_token' in (await ask(tenant, without)).body, false)
  }
  tenant.state.clients.get('spa')!.grant_types = ['password']
  assert.equal((await ask(tenant, form)).body['scope'], 'read:orders')
  tenant.state.clients.get('spa')!.grant_types = ['password', 'refresh_token']
  tenant.state.resourceServers.get(STOREFRONT)!.allow_offline_access = false
  const refused = await ask(tenant, form)
  assert.deepEqual([refused.body['scope'], 'refresh_token' in refused.body], ['read:orders', false])
})

test('a refreshed token is of the same user, API and scopes', async (t) => {
  const { tenant, pass } = await clocked(t)
  const token = await login(tenant)
  pass(100 * SECOND)
  const answered = await refresh(tenant, token)
  // The clock of the test is not that of the library that verifies.
  const [, payload = ''] = tokenOf(answered).split('.')
  const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
  assert.deepEqual(claims, {
    iss: tenant.url,
    sub: 'auth0|alice',
    aud: STOREFRONT,
    iat: 1_700_000_100,
    exp: 1_700_086_500,
    scope: 'read:orders write:orders offline_access',
    azp: 'spa',
    gty: 'refresh_token',
  })
})

test('a refresh may ask for less, and gets no more than the login did', async (t) => {
  const tenant = await startTenant(t)
  const first = await refresh(tenant, await login(tenant), { scope: 'read:orders' })
  assert.equal((await verified(tenant, tokenOf(first))).claims['scope'], 'read:orders')
  const more = await refresh(tenant, nextOf(first), { scope: 'read:orders read:inventory' })
  assert.equal(more.body['scope'], 'read:orders')
  const same = await refresh(tenant, nextOf(more))
  assert.equal(same.body['scope'], 'read:orders write:orders offline_access')
})

test('what the user has lost since the login is not given again', async (t) => {
  const tenant = await startTenant(t)
  const token = await login(tenant)
  const alice = tenant.state.users.get('alice')!
  alice.permissions = alice.permissions.filter(
    ({ permission_name: name }) => name !== 'write:orders',
  )
  assert.equal((await refresh(tenant, token)).body['scope'], 'read:orders offline_access')
})

test('another audience is ignored without a policy for it', async (t) => {
  const tenant = await startTenant(t)
  const answered = await refresh(tenant, await login(tenant), { audience: ORDERS })
  assert.equal((await verified(tenant, tokenOf(answered))).claims.aud, STOREFRONT)
})

test('each use replaces the refresh token', async (t) => {
  const tenant = await startTenant(t)
  const seen = new Set([await login(tenant)])
  for (let uses = 0; uses < 3; uses++) {
    const next = nextOf(await refresh(tenant, [...seen].at(-1)!))
    assert.equal(seen.has(next), false)
    seen.add(next)
  }
})

test('a spent refresh token revokes its whole family, and no other', async (t) => {
  const tenant = await startTenant(t)
  const [stolen, other] = [await login(tenant), await login(tenant)]
  const next = nextOf(await refresh(tenant, stolen))
  assertRefused(await refresh(tenant, stolen), 403, 'invalid_grant')
  assertRefused(await refresh(tenant, next), 403, 'invalid_grant')
  tokenOf(await refresh(tenant, other))
})

test('within the leeway the previous token, and only that, leads to the same successor', async (t) => {
  const { tenant, pass } = await clocked(t)
  tenant.state.clients.get('spa')!.refresh_token.leeway = 10
  const first = await login(tenant)
  const second = nextOf(await refresh(tenant, first))
  pass(10 * SECOND - 1)
  assert.equal(nextOf(await refresh(tenant, first)), second)
  const third = nextOf(await refresh(tenant, second))
  assertRefused(await refresh(tenant, first), 403, 'invalid_grant')
  assertRefused(await refresh(tenant, third), 403, 'invalid_grant')
})

test('after the leeway the previous token is a spent one', async (t) => {
  const { tenant, pass } = await clocked(t)
  tenant.state.clients.get('spa')!.refresh_token.leeway = 10
  const first = await login(tenant)
  const second = nextOf(await refresh(tenant, first))
  pass(10 * SECOND)
  assertRefused(await refresh(tenant, first), 403, 'invalid_grant')
  assertRefused(await refresh(tenant, second), 403, 'invalid_grant')
})

test('without rotation one token serves again and again', async (t) => {
  const tenant = await startTenant(t)
  tenant.state.clients.get('spa')!.refresh_token.rotation_type = 'non-rotating'
  const token = await login(tenant)
  for (let uses = 0; uses < 2; uses++) {
    const answered = await refresh(tenant, token)
    tokenOf(answered)
    assert.equal('refresh_token' in answered.body, false)
  }
})

for (const [what, uses, idle, expires] of [
  ['used every fourteen days', 2, 14 * DAY, false],
  ['unused for fifteen days', 1, 15 * DAY, true],
  ['used every ten days for thirty', 3, 10 * DAY, true],
] as const) {
  test(`a family ${what} ${expires ? 'has expired' : 'is good'}`, async (t) => {
    const { tenant, pass } = await clocked(t)
    let token = await login(tenant)
    for (let use = 1; use < uses; use++) {
      pass(idle)
      token = nextOf(await refresh(tenant, token))
    }
    pass(idle)
    const last = await refresh(tenant, token)
    if (expires) assertRefused(last, 403, 'invalid_grant')
    else tokenOf(last)
  })
}

test("another client's refresh token is unknown, and stays good for its own", async (t) => {
  const tenant = await startTenant(t)
  tenant.state.addClient({
    client_id: 'app',
    app_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['refresh_token'],
  })
  const token = await login(tenant)
  assertRefused(await refresh(tenant, token, { client_id: 'app' }), 403, 'invalid_grant')
  assertRefused(await refresh(tenant, 'v1.unknown'), 403, 'invalid_grant')
  tokenOf(await refresh(tenant, token))
})
