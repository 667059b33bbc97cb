import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SignJWT, type JWTPayload } from 'jose'
import type { Tenant } from '../../src/tenant/index.ts'
import {
  ask,
  assertRefused,
  BACKOFFICE,
  BACKOFFICE_CLIENT,
  BACKOFFICE_SIGNING_SECRET,
  basic,
  exchangeForm,
  given,
  INVENTORY,
  ORDERS,
  post,
  startTenant,
  STOREFRONT,
  STOREFRONT_CLIENT,
  tokenOf,
  verified,
  type Parameters,
} from './ask.ts'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

function subjectToken(tenant: Tenant, user = 'alice'): Promise<string> {
  return tenant.token({ user, audience: STOREFRONT, scope: 'read:orders' })
}

/** What only someone who knows the backoffice's signing secret can write. */
function backofficeToken(tenant: Tenant, claims: JWTPayload, alg = 'HS256'): Promise<string> {
  const usual = { iss: tenant.url, sub: 'auth0|alice', aud: BACKOFFICE, azp: 'spa' }
  return new SignJWT({ ...usual, exp: Math.floor(Date.now() / 1_000) + 60, ...claims })
    .setProtectedHeader({ alg, typ: 'JWT' })
    .sign(Buffer.from(BACKOFFICE_SIGNING_SECRET))
}

test('an API gets a token of the same user for another API', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
  const tenant = await startTenant(t)
  const { status, headers, body } = await ask(tenant, exchangeForm(await subjectToken(tenant)))
  assert.equal(status, 200)
  assert.equal(headers.get('cache-control'), 'no-store')
  const { access_token: token, ...rest } = body
  assert.deepEqual(rest, {
    token_type: 'Bearer',
    expires_in: 3_600,
    issued_token_type: ACCESS_TOKEN,
  })
  assert.deepEqual((await verified(tenant, String(token))).claims, {
    iss: tenant.url,
    sub: 'auth0|alice',
    aud: ORDERS,
    iat: 1_700_000_000,
    exp: 1_700_003_600,
    scope: 'orders:read',
    azp: 'storefront-gateway',
    act: { sub: 'storefront-gateway', act: { sub: 'spa' } },
  })
})

test('a form, JSON, client_secret_post and client_secret_basic give the same', async (t) => {
  const tenant = await startTenant(t, { clock: () => Date.parse('2100-01-01') })
  const form = exchangeForm(await subjectToken(tenant))
  const byForm = await ask(tenant, form)
  tokenOf(byForm)
  const json = JSON.stringify(Object.fromEntries(given(form)))
  const byJson = await post(tenant, json, { 'content-type': 'application/json' })
  assert.deepEqual(byJson.body, byForm.body)
  const anonymous = { ...form, client_id: undefined, client_secret: undefined }
  const { client_id: id, client_secret: secret } = STOREFRONT_CLIENT
  assert.deepEqual((await ask(tenant, anonymous, basic(id, secret))).body, byForm.body)
})

test('an HS256 API exchanges as an RS256 one does', async (t) => {
  const tenant = await startTenant(t)
  const token = await tenant.token({ user: 'alice', audience: BACKOFFICE })
  const answered = await ask(tenant, exchangeForm(token, BACKOFFICE_CLIENT))
  assert.deepEqual((await verified(tenant, tokenOf(answered))).claims['act'], {
    sub: 'backoffice-gateway',
    act: { sub: 'spa' },
  })
})

test('a token for an HS256 API is signed with the secret of that API', async (t) => {
  const tenant = await startTenant(t)
  const secret = 'another signing secret of thirty-two bytes'
  const orders = tenant.state.resourceServers.get(ORDERS)!
  Object.assign(orders, { signing_alg: 'HS256', signing_secret: secret })
  const answered = await ask(tenant, exchangeForm(await subjectToken(tenant)))
  const { claims, header } = await verified(tenant, tokenOf(answered), secret)
  assert.equal(claims.aud, ORDERS)
  assert.deepEqual(header, { alg: 'HS256', typ: 'JWT' })
})

const parameters: readonly [string, Parameters, number, string][] = [
  ['no subject token', { subject_token: undefined }, 400, 'invalid_request'],
  ['no subject_token_type', { subject_token_type: undefined }, 400, 'invalid_request'],
  ['no requested_token_type', { requested_token_type: undefined }, 400, 'invalid_request'],
  ['no audience', { audience: undefined }, 400, 'invalid_request'],
  [
    'a subject_token_type that is none',
    { subject_token_type: 'access_token' },
    400,
    'invalid_request',
  ],
  [
    'an ID token asked for',
    { requested_token_type: 'urn:ietf:params:oauth:token-type:id_token' },
    400,
    'invalid_request',
  ],
  ['a wrong secret', { client_secret: 'wrong' }, 401, 'invalid_client'],
  ["another API's client", BACKOFFICE_CLIENT, 403, 'unauthorized_client'],
  ['an unknown audience', { audience: 'https://nowhere.example' }, 403, 'access_denied'],
  ['an audience without a grant', { audience: BACKOFFICE }, 403, 'access_denied'],
  ['a scope that the API does not have', { scope: 'orders:delete' }, 403, 'access_denied'],
]

for (const [what, changes, status, error] of parameters) {
  test(`an exchange with ${what} is refused`, async (t) => {
    const tenant = await startTenant(t)
    const token = await subjectToken(tenant)
    assertRefused(await ask(tenant, exchangeForm(token, changes)), status, error)
    tokenOf(await ask(tenant, exchangeForm(token)))
    assert.equal(tenant.exchanges(), 2)
  })
}

const settings: readonly [string, (tenant: Tenant) => void, number, string][] = [
  [
    'a client without the flag',
    ({ state }) => void delete state.clients.get('storefront-gateway')!.token_exchange,
    403,
    'unauthorized_client',
  ],
  [
    'a client with the flag of another exchange',
    ({ state }) => {
      const other = { allow_any_profile_of_type: ['custom_authentication'] }
      state.clients.get('storefront-gateway')!.token_exchange = other
    },
    403,
    'unauthorized_client',
  ],
  [
    'a client of another type, though linked',
    ({ state }) => {
      Object.assign(state.clients.get('storefront-gateway')!, { app_type: 'regular_web' })
    },
    403,
    'unauthorized_client',
  ],
  [
    'a client that does not authenticate',
    ({ state }) => {
      state.clients.get('storefront-gateway')!.token_endpoint_auth_method = 'none'
    },
    403,
    'unauthorized_client',
  ],
  [
    'no client grant',
    ({ state }) => {
      for (const { id } of state.clientGrants.values()) state.removeClientGrant(id)
    },
    403,
    'access_denied',
  ],
  [
    'a client grant for the client itself',
    ({ state }) => {
      for (const { id } of state.clientGrants.values()) state.removeClientGrant(id)
      const of = { client_id: 'storefront-gateway', audience: ORDERS, scope: ['orders:read'] }
      state.addClientGrant({ ...of, subject_type: 'client' })
    },
    403,
    'access_denied',
  ],
  [
    'an API that asks users for their consent',
    ({ state }) => {
      const orders = state.resourceServers.get(ORDERS)!
      orders.skip_consent_for_verifiable_first_party_clients = false
    },
    403,
    'consent_required',
  ],
  [
    'an API that is closed to users',
    ({ state }) => {
      const orders = state.resourceServers.get(ORDERS)!
      orders.subject_type_authorization.user.policy = 'deny_all'
    },
    403,
    'access_denied',
  ],
  [
    'a user without any permission for it',
    ({ state }) => void (state.users.get('alice')!.permissions = []),
    403,
    'access_denied',
  ],
]

for (const [what, change, status, error] of settings) {
  test(`an exchange with ${what} is refused`, async (t) => {
    const tenant = await startTenant(t)
    const token = await subjectToken(tenant)
    tokenOf(await ask(tenant, exchangeForm(token)))
    change(tenant)
    assertRefused(await ask(tenant, exchangeForm(token)), status, error)
  })
}

test('a client that is no API cannot exchange, whatever it was allowed', async (t) => {
  const tenant = await startTenant(t)
  tenant.state.addClient({
    client_id: 'app',
    client_secret: 'a secret of the application',
    app_type: 'regular_web',
    token_exchange: { allow_any_profile_of_type: ['on_behalf_of_token_exchange'] },
  })
  const audience = ORDERS
  const scope = ['orders:read']
  tenant.state.addClientGrant({ client_id: 'app', audience, scope, subject_type: 'user' })
  const token = await subjectToken(tenant)
  const app = { client_id: 'app', client_secret: 'a secret of the application' }
  assertRefused(await ask(tenant, exchangeForm(token, app)), 403, 'unauthorized_client')
})

test('an exchange needs a grant even where the policy asks for none', async (t) => {
  const tenant = await startTenant(t)
  const orders = tenant.state.resourceServers.get(ORDERS)!
  orders.subject_type_authorization.user.policy = 'allow_all'
  const form = exchangeForm(await subjectToken(tenant))
  tokenOf(await ask(tenant, form))
  for (const { id } of tenant.state.clientGrants.values()) tenant.state.removeClientGrant(id)
  assertRefused(await ask(tenant, form), 403, 'access_denied')
})

const bob: Parameters = { audience: INVENTORY, scope: 'inventory:read' }

for (const [what, user, changes, granted, told] of [
  ['what it asked for', 'alice', {}, 'orders:read', undefined],
  ['both', 'alice', { scope: 'orders:write orders:read' }, 'orders:write orders:read', undefined],
  ['what is left of it', 'alice', { scope: 'orders:read x' }, 'orders:read', 'orders:read'],
  [
    'everything',
    'alice',
    { scope: undefined },
    'orders:read orders:write',
    'orders:read orders:write',
  ],
  ['what bob holds', 'bob', bob, 'inventory:read', undefined],
] as const) {
  test(`an exchange for ${JSON.stringify(changes)} gives ${what}`, async (t) => {
    const tenant = await startTenant(t)
    const answered = await ask(tenant, exchangeForm(await subjectToken(tenant, user), changes))
    assert.equal((await verified(tenant, tokenOf(answered))).claims['scope'], granted)
    assert.equal(answered.body['scope'], told)
  })
}

test('a grant narrows what the user holds', async (t) => {
  const tenant = await startTenant(t)
  const token = await tenant.token({ user: 'alice', audience: BACKOFFICE })
  const scope = 'orders:read orders:write'
  const narrow = await ask(tenant, exchangeForm(token, { ...BACKOFFICE_CLIENT, scope }))
  assert.equal(narrow.body['scope'], 'orders:read')
  const wide = await ask(tenant, exchangeForm(await subjectToken(tenant), { scope }))
  assert.equal('scope' in wide.body, false)
})

test('a user without the permission is refused, another is not', async (t) => {
  const tenant = await startTenant(t)
  const ofBob = exchangeForm(await subjectToken(tenant, 'bob'))
  assertRefused(await ask(tenant, ofBob), 403, 'access_denied')
  tokenOf(await ask(tenant, exchangeForm(await subjectToken(tenant))))
})

test('an expired subject token is refused, to the second', async (t) => {
  let now = Date.now()
  const tenant = await startTenant(t, { clock: () => now })
  const token = await subjectToken(tenant)
  const exp = (Math.floor(now / 1_000) + 86_400) * 1_000
  now = exp - 1
  tokenOf(await ask(tenant, exchangeForm(token)))
  now = exp
  assertRefused(await ask(tenant, exchangeForm(token)), 401, 'invalid_grant')
})

function altered(token: string, claims: JWTPayload): string {
  const [header = '', payload = '', signature = ''] = token.split('.')
  const own = JSON.parse(Buffer.from(payload, 'base64url').toString()) as JWTPayload
  const other = Buffer.from(JSON.stringify({ ...own, ...claims })).toString('base64url')
  return [header, other, signature].join('.')
}

function unsigned(token: string): string {
  const [, payload = ''] = token.split('.')
  const header = Buffer.from(JSON.stringify({ alg: 'none', typ: 'JWT' })).toString('base64url')
  return `${header}.${payload}.`
}

for (const [what, spoil] of [
  ['is no JWT', () => 'opaque'],
  ['has no JSON in it', () => 'a.b.c'],
  ['has another subject than was signed', (token) => altered(token, { sub: 'auth0|bob' })],
  ['has no signature', unsigned],
  [
    'is for an API that nobody knows',
    (token) => altered(token, { aud: 'https://nowhere.example' }),
  ],
] satisfies [string, (token: string) => string][]) {
  test(`a subject token that ${what} is refused`, async (t) => {
    const tenant = await startTenant(t)
    const token = await subjectToken(tenant)
    assertRefused(await ask(tenant, exchangeForm(spoil(token))), 401, 'invalid_grant')
    tokenOf(await ask(tenant, exchangeForm(token)))
  })
}

for (const [what, claims, error] of [
  ['of another issuer', { iss: 'https://other.example/' }, 'invalid_grant'],
  ['of a user that is not here', { sub: 'auth0|mallory' }, 'invalid_grant'],
  ['without a subject', { sub: undefined }, 'invalid_grant'],
  ['without an end', { exp: undefined }, 'invalid_grant'],
  ['with a chain that is none', { act: 'spa' }, undefined],
  ['for two APIs', { aud: [ORDERS, BACKOFFICE] }, undefined],
] as const) {
  test(`a well-signed subject token ${what} is ${error === undefined ? 'exchanged' : 'refused'}`, async (t) => {
    const tenant = await startTenant(t)
    const good = await backofficeToken(tenant, {})
    tokenOf(await ask(tenant, exchangeForm(good, BACKOFFICE_CLIENT)))
    const token = await backofficeToken(tenant, claims as JWTPayload)
    const answered = await ask(tenant, exchangeForm(token, BACKOFFICE_CLIENT))
    if (error === undefined) tokenOf(answered)
    else assertRefused(answered, 401, error)
  })
}

test("the algorithm is the API's, and a secret does not stand in for a key pair", async (t) => {
  const tenant = await startTenant(t)
  const other = await backofficeToken(tenant, {}, 'HS512')
  assertRefused(await ask(tenant, exchangeForm(other, BACKOFFICE_CLIENT)), 401, 'invalid_grant')
  const forged = await backofficeToken(tenant, { aud: STOREFRONT })
  assertRefused(await ask(tenant, exchangeForm(forged)), 401, 'invalid_grant')
  // Nor where the token is for both: the key is that of the API that asks.
  const both = await backofficeToken(tenant, { aud: [BACKOFFICE, STOREFRONT] })
  assertRefused(await ask(tenant, exchangeForm(both)), 401, 'invalid_grant')
  tokenOf(await ask(tenant, exchangeForm(both, BACKOFFICE_CLIENT)))
})

for (const dialect of ['access_token', 'rfc9068_profile'] as const) {
  test(`a token that a client got for itself is not exchanged (${dialect})`, async (t) => {
    const tenant = await startTenant(t)
    const storefront = tenant.state.resourceServers.get(STOREFRONT)!
    storefront.token_dialect = dialect
    tenant.state.addClient({
      client_id: 'batch',
      client_secret: 'a secret of the batch job',
      grant_types: ['client_credentials'],
    })
    tenant.state.addClientGrant({
      client_id: 'batch',
      audience: STOREFRONT,
      scope: ['read:orders'],
    })
    const own = await ask(tenant, {
      grant_type: 'client_credentials',
      client_id: 'batch',
      client_secret: 'a secret of the batch job',
      audience: STOREFRONT,
    })
    const refused = await ask(tenant, exchangeForm(tokenOf(own)))
    assertRefused(refused, 403, 'access_denied')
    tokenOf(await ask(tenant, exchangeForm(await subjectToken(tenant))))
  })
}

test('each exchange adds an actor, until the chain is too long', async (t) => {
  const tenant = await startTenant(t)
  const { state } = tenant
  const names = ['one', 'two', 'three', 'four', 'five']
  const identifierOf = (name: string): string => `https://${name}.internal`
  for (const name of names) {
    state.addResourceServer({
      identifier: identifierOf(name),
      skip_consent_for_verifiable_first_party_clients: true,
    })
    state.addClient({
      client_id: name,
      client_secret: `the secret of ${name}`,
      app_type: 'resource_server',
      resource_server_identifier: identifierOf(name),
      token_exchange: { allow_any_profile_of_type: ['on_behalf_of_token_exchange'] },
    })
  }
  const exchange = (token: string, from: string, to: string) => {
    const audience = identifierOf(to)
    state.addClientGrant({ client_id: from, audience, scope: [], subject_type: 'user' })
    const client = { client_id: from, client_secret: `the secret of ${from}` }
    return ask(tenant, exchangeForm(token, { ...client, audience, scope: undefined }))
  }

  let token = await tenant.token({ user: 'alice', audience: identifierOf('one') })
  token = tokenOf(await exchange(token, 'one', 'two'))
  token = tokenOf(await exchange(token, 'two', 'three'))
  token = tokenOf(await exchange(token, 'three', 'four'))
  const chain = {
    sub: 'three',
    act: { sub: 'two', act: { sub: 'one', act: { sub: 'spa' } } },
  }
  const { claims } = await verified(tenant, token)
  assert.deepEqual([claims['act'], claims['azp'], claims.sub], [chain, 'three', 'auth0|alice'])
  const refused = await exchange(token, 'four', 'five')
  assertRefused(refused, 400, 'invalid_request')
  assert.equal(
    refused.body['error_description'],
    'Delegation chain (`act` claim) depth exceeds the maximum allowed limit of 4',
  )
})
