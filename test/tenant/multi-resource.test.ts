import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Client, Tenant } from '../../src/tenant/index.ts'
import {
  ask,
  assertRefused,
  INVENTORY,
  ORDERS,
  passwordForm,
  startTenant,
  STOREFRONT,
  tokenOf,
  verified,
  type Answered,
  type Parameters,
} from './ask.ts'

interface LoggedIn {
  readonly tenant: Tenant
  readonly spa: Client
  readonly token: string
}

/** Alice at a client whose refresh tokens are good for the orders, too. */
async function loggedIn(t: TestContext): Promise<LoggedIn> {
  const tenant = await startTenant(t)
  const spa = tenant.state.clients.get('spa')!
  spa.refresh_token.policies = [{ audience: ORDERS, scope: ['orders:read', 'orders:write'] }]
  for (const [audience, scope] of [
    [ORDERS, ['orders:read', 'orders:write']],
    [INVENTORY, ['inventory:read']],
  ] as const) {
    tenant.state.addClientGrant({
      client_id: 'spa',
      audience,
      scope: [...scope],
      subject_type: 'user',
    })
  }
  const { body } = await ask(tenant, passwordForm({ scope: 'read:orders offline_access' }))
  return { tenant, spa, token: String(body['refresh_token']) }
}

function refresh(tenant: Tenant, token: string, changes: Parameters = {}): Promise<Answered> {
  const form = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: token }
  return ask(tenant, { ...form, ...changes })
}

async function given(tenant: Tenant, answered: Answered): Promise<readonly unknown[]> {
  const { claims } = await verified(tenant, tokenOf(answered))
  assert.deepEqual([claims.sub, claims['azp']], ['auth0|alice', 'spa'])
  return [claims.aud, claims['scope'], answered.body['scope']]
}

const nextOf = (answered: Answered): string => String(answered.body['refresh_token'])

for (const [what, changes, expected] of [
  ['the other API', { audience: ORDERS }, [ORDERS, 'orders:read orders:write']],
  ['one of its scopes', { audience: ORDERS, scope: 'orders:read' }, [ORDERS, 'orders:read']],
  [
    'a scope that it does not have',
    { audience: ORDERS, scope: 'orders:read orders:delete' },
    [ORDERS, 'orders:read'],
  ],
  ['scopes of another API only', { audience: ORDERS, scope: 'read:orders' }, [ORDERS, undefined]],
  [
    'offline_access at the other API',
    { audience: ORDERS, scope: 'orders:read offline_access' },
    [ORDERS, 'orders:read'],
  ],
  ['the API of the login', { audience: STOREFRONT }, [STOREFRONT, 'read:orders offline_access']],
  ['no API', {}, [STOREFRONT, 'read:orders offline_access']],
  ['an API without a policy', { audience: INVENTORY }, [STOREFRONT, 'read:orders offline_access']],
  [
    'an API that there is not',
    { audience: 'https://nowhere.example' },
    [STOREFRONT, 'read:orders offline_access'],
  ],
  [
    'an API without a policy, and a scope of it',
    { audience: INVENTORY, scope: 'inventory:read' },
    [STOREFRONT, undefined],
  ],
] as const) {
  test(`a refresh that asks for ${what} gives ${expected[1] ?? 'no scope'} of ${expected[0]}`, async (t) => {
    const { tenant, token } = await loggedIn(t)
    const answered = await refresh(tenant, token, changes)
    const [audience, scope, told] = await given(tenant, answered)
    assert.deepEqual([audience, scope], expected)
    const requested = 'scope' in changes ? changes.scope : undefined
    assert.equal(told, requested === expected[1] ? undefined : (expected[1] ?? ''))
  })
}

test('a policy bounds the scopes, and so does what the user holds', async (t) => {
  const { tenant, spa, token } = await loggedIn(t)
  const scope = 'orders:read orders:write'
  const whole = await refresh(tenant, token, { audience: ORDERS, scope })
  assert.deepEqual((await given(tenant, whole))[1], scope)
  spa.refresh_token.policies = [{ audience: ORDERS, scope: ['orders:write'] }]
  const bounded = await refresh(tenant, nextOf(whole), { audience: ORDERS, scope })
  assert.deepEqual((await given(tenant, bounded))[1], 'orders:write')
  const alice = tenant.state.users.get('alice')!
  alice.permissions = alice.permissions.filter((one) => one.permission_name !== 'orders:write')
  const lost = await refresh(tenant, nextOf(bounded), { audience: ORDERS, scope })
  assert.deepEqual((await given(tenant, lost))[1], undefined)
})

test('one family serves several APIs in turn, and rotates with each', async (t) => {
  const { tenant, token } = await loggedIn(t)
  const other = await refresh(tenant, token, { audience: ORDERS })
  const own = await refresh(tenant, nextOf(other))
  const again = await refresh(tenant, nextOf(own), { audience: ORDERS })
  assert.deepEqual((await given(tenant, own))[0], STOREFRONT)
  assert.deepEqual((await given(tenant, again))[0], ORDERS)
  assert.equal(new Set([token, ...[other, own, again].map(nextOf)]).size, 4)
  assertRefused(await refresh(tenant, nextOf(own), { audience: ORDERS }), 403, 'invalid_grant')
  assertRefused(await refresh(tenant, nextOf(again)), 403, 'invalid_grant')
})

test('a policy cannot give offline_access at another API', async (t) => {
  const { tenant, spa, token } = await loggedIn(t)
  spa.refresh_token.policies = [{ audience: ORDERS, scope: ['orders:read', 'offline_access'] }]
  const answered = await refresh(tenant, token, { audience: ORDERS })
  assert.deepEqual((await given(tenant, answered))[1], 'orders:read')
})

test('a policy that names an API which is gone is none', async (t) => {
  const { tenant, spa, token } = await loggedIn(t)
  spa.refresh_token.policies = [{ audience: 'https://gone.example', scope: ['a'] }]
  const answered = await refresh(tenant, token, { audience: 'https://gone.example' })
  assert.deepEqual((await given(tenant, answered))[0], STOREFRONT)
})

for (const [what, error, forbid, allow] of [
  [
    'asks for consent',
    'consent_required',
    ({ state }: Tenant) => {
      state.resourceServers.get(ORDERS)!.skip_consent_for_verifiable_first_party_clients = false
    },
    ({ state }: Tenant) => {
      state.resourceServers.get(ORDERS)!.skip_consent_for_verifiable_first_party_clients = true
    },
  ],
  [
    'is closed to users',
    'access_denied',
    ({ state }: Tenant) => {
      state.resourceServers.get(ORDERS)!.subject_type_authorization.user.policy = 'deny_all'
    },
    ({ state }: Tenant) => {
      state.resourceServers.get(ORDERS)!.subject_type_authorization.user.policy = 'allow_all'
    },
  ],
] as const) {
  test(`an API that ${what} is refused, and the refresh token stays good`, async (t) => {
    const { tenant, token } = await loggedIn(t)
    forbid(tenant)
    assertRefused(await refresh(tenant, token, { audience: ORDERS }), 403, error)
    assertRefused(await refresh(tenant, token, { audience: ORDERS }), 403, error)
    allow(tenant)
    const answered = await refresh(tenant, token, { audience: ORDERS })
    assert.deepEqual((await given(tenant, answered))[0], ORDERS)
  })
}

test('a spent token revokes its family whichever API it asks for, and says no more', async (t) => {
  const { tenant, token } = await loggedIn(t)
  const next = nextOf(await refresh(tenant, token))
  const reused = await refresh(tenant, token, { audience: ORDERS })
  assertRefused(reused, 403, 'invalid_grant')
  assert.equal(reused.body['error_description'], 'Unknown or invalid refresh token.')
  assertRefused(await refresh(tenant, next, { audience: ORDERS }), 403, 'invalid_grant')
})

test('of two refreshes that cross on their way one is the reuse of a spent token', async (t) => {
  const { tenant, token } = await loggedIn(t)
  const both = await Promise.all([
    refresh(tenant, token),
    refresh(tenant, token, { audience: ORDERS }),
  ])
  assert.deepEqual(new Set(both.map(({ status }) => status)), new Set([200, 403]))
  const won = both.find(({ status }) => status === 200)!
  assertRefused(await refresh(tenant, nextOf(won)), 403, 'invalid_grant')
})

test('within a leeway two that cross are both served, and lead to one successor', async (t) => {
  const { tenant, spa, token } = await loggedIn(t)
  spa.refresh_token.leeway = 60
  const both = await Promise.all([
    refresh(tenant, token),
    refresh(tenant, token, { audience: ORDERS }),
  ])
  assert.deepEqual(await Promise.all(both.map(async (one) => (await given(tenant, one))[0])), [
    STOREFRONT,
    ORDERS,
  ])
  const [next, other] = both.map(nextOf)
  assert.equal(next, other)
  tokenOf(await refresh(tenant, next!))
})
