import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ask,
  assertRefused,
  BACKOFFICE,
  BACKOFFICE_SIGNING_SECRET,
  INVENTORY,
  ORDERS,
  passwordForm,
  startTenant,
  STOREFRONT,
  tokenOf,
  verified,
} from './ask.ts'

test("a user's password gives a token for an API", async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_500 })
  const tenant = await startTenant(t)
  const { status, body } = await ask(tenant, passwordForm())
  assert.equal(status, 200)
  const { access_token: token, ...rest } = body
  assert.deepEqual(rest, { token_type: 'Bearer', expires_in: 86_400 })
  const { claims, header } = await verified(tenant, String(token))
  assert.deepEqual(claims, {
    iss: tenant.url,
    sub: 'auth0|alice',
    aud: STOREFRONT,
    iat: 1_700_000_000,
    exp: 1_700_086_400,
    scope: 'read:orders',
    azp: 'spa',
    gty: 'password',
  })
  assert.deepEqual(Object.keys(header).sort(), ['alg', 'kid', 'typ'])
  assert.deepEqual([header['alg'], header['typ']], ['RS256', 'JWT'])
})

test('a token of an HS256 API is signed with its secret as it is written, and names no key', async (t) => {
  const tenant = await startTenant(t)
  const token = tokenOf(await ask(tenant, passwordForm({ audience: BACKOFFICE })))
  const { claims, header } = await verified(tenant, token, BACKOFFICE_SIGNING_SECRET)
  assert.deepEqual(header, { alg: 'HS256', typ: 'JWT' })
  assert.equal(claims.aud, BACKOFFICE)
  await assert.rejects(verified(tenant, token, `${BACKOFFICE_SIGNING_SECRET} `))
})

for (const [what, changes, status, error] of [
  ['a wrong password', { password: 'Wonderland' }, 403, 'invalid_grant'],
  ['an unknown user', { username: 'mallory' }, 403, 'invalid_grant'],
  ['no password', { password: undefined }, 400, 'invalid_request'],
  ['no audience', { audience: undefined }, 400, 'invalid_request'],
  ['an unknown audience', { audience: `${STOREFRONT}/` }, 403, 'access_denied'],
  ['an API that asks for a grant', { audience: ORDERS }, 403, 'access_denied'],
] as const) {
  test(`${what} gives no token`, async (t) => {
    const tenant = await startTenant(t)
    assertRefused(await ask(tenant, passwordForm(changes)), status, error)
    tokenOf(await ask(tenant, passwordForm()))
  })
}

test('an API is open to the clients that its policy for users admits', async (t) => {
  const tenant = await startTenant(t)
  const user = tenant.state.resourceServers.get(ORDERS)!.subject_type_authorization.user
  const form = passwordForm({ audience: ORDERS, scope: undefined })
  assertRefused(await ask(tenant, form), 403, 'access_denied')
  const { id } = tenant.state.addClientGrant({
    client_id: 'spa',
    audience: ORDERS,
    scope: ['orders:read'],
    subject_type: 'user',
  })
  assert.equal((await ask(tenant, form)).body['scope'], 'orders:read')
  user.policy = 'deny_all'
  assertRefused(await ask(tenant, form), 403, 'access_denied')
  tenant.state.removeClientGrant(id)
  user.policy = 'allow_all'
  assert.equal((await ask(tenant, form)).body['scope'], 'orders:read orders:write')
})

for (const [user, password, asked, granted, told] of [
  ['alice', 'wonderland', 'read:orders write:orders', 'read:orders write:orders', undefined],
  ['alice', 'wonderland', 'write:orders read:orders', 'write:orders read:orders', undefined],
  ['alice', 'wonderland', 'read:orders read:everything', 'read:orders', 'read:orders'],
  ['bob', 'builder', 'read:orders read:inventory', 'read:inventory', 'read:inventory'],
  ['bob', 'builder', 'read:orders', undefined, ''],
  ['bob', 'builder', undefined, 'read:inventory', 'read:inventory'],
] as const) {
  test(`${user} asks for ${asked ?? 'nothing in particular'} and gets ${granted ?? 'no scope'}`, async (t) => {
    const tenant = await startTenant(t)
    const answered = await ask(tenant, passwordForm({ username: user, password, scope: asked }))
    assert.equal((await verified(tenant, tokenOf(answered))).claims['scope'], granted)
    assert.equal(answered.body['scope'], told)
  })
}

test('an API without policies gives every scope that it has', async (t) => {
  const tenant = await startTenant(t)
  tenant.state.resourceServers.get(STOREFRONT)!.enforce_policies = false
  const form = passwordForm({ username: 'bob', password: 'builder', scope: 'read:orders other' })
  assert.equal((await ask(tenant, form)).body['scope'], 'read:orders')
})

test('token() gives what a login gives, for users that were added too', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
  const tenant = await startTenant(t)
  const token = await tenant.token({ user: 'alice', audience: STOREFRONT, scope: 'read:orders' })
  assert.equal(token, tokenOf(await ask(tenant, passwordForm())))
  tenant.addUser('carol')
  tenant.addUser('dave', { [STOREFRONT]: ['read:orders'], [INVENTORY]: [] })
  for (const [user, scope] of [
    ['carol', 'read:orders write:orders read:inventory'],
    ['dave', 'read:orders'],
  ] as const) {
    const { claims } = await verified(tenant, await tenant.token({ user, audience: STOREFRONT }))
    assert.deepEqual([claims.sub, claims['scope']], [`auth0|${user}`, scope])
    tokenOf(await ask(tenant, passwordForm({ username: user, password: user })))
  }
})

test('token() says what the tenant lacks', async (t) => {
  const tenant = await startTenant(t)
  await assert.rejects(tenant.token({ user: 'mallory', audience: STOREFRONT }), /no user mallory/)
  const unknownClient = { user: 'alice', audience: STOREFRONT, client: 'app' }
  await assert.rejects(tenant.token(unknownClient), /no client app/)
  const unknownAudience = { user: 'alice', audience: 'https://nowhere.example' }
  await assert.rejects(tenant.token(unknownAudience), { error: 'access_denied' })
})
