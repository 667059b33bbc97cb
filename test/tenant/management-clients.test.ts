import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import { calculateJwkThumbprint, exportJWK } from 'jose'
import type { Tenant } from '../../src/tenant/index.ts'
import { startTenant } from './ask.ts'
import { assertFailed, call, called, type Json } from './management.ts'

const API = 'https://api.example'
const ON_BEHALF_OF = { allow_any_profile_of_type: ['on_behalf_of_token_exchange'] }
const LINKED = {
  name: 'An API as a client',
  app_type: 'resource_server',
  resource_server_identifier: API,
  token_exchange: ON_BEHALF_OF,
}

async function withApi(t: TestContext): Promise<Tenant> {
  const tenant = await startTenant(t, { empty: true })
  await called(tenant, 'POST /resource-servers', { identifier: API })
  return tenant
}

function newPem(): string {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return String(publicKey.export({ type: 'spki', format: 'pem' }))
}

test('the client of an API is made at once, needs no grant type, and its API knows it', async (t) => {
  const tenant = await withApi(t)
  const client = await called(tenant, 'POST /clients', LINKED)
  const { client_id: id, client_secret: secret, ...rest } = client
  assert.match(String(id), /^[A-Za-z0-9]{32}$/)
  assert.match(String(secret), /^[A-Za-z0-9]{64}$/)
  assert.deepEqual(rest, {
    ...LINKED,
    tenant: 'behalf',
    global: false,
    sso_disabled: false,
    cross_origin_authentication: false,
    custom_login_page_on: true,
    oidc_conformant: true,
    is_first_party: true,
    grant_types: [],
    token_endpoint_auth_method: 'client_secret_post',
    jwt_configuration: { alg: 'RS256', lifetime_in_seconds: 36_000, secret_encoded: false },
    refresh_token: {
      rotation_type: 'non-rotating',
      expiration_type: 'non-expiring',
      leeway: 0,
      token_lifetime: 31_557_600,
      infinite_token_lifetime: true,
      idle_token_lifetime: 2_592_000,
      infinite_idle_token_lifetime: true,
    },
  })
  const server = await called(tenant, `GET /resource-servers/${encodeURIComponent(API)}`)
  assert.equal(server['client_id'], id)
})

test('an API has one client, which names it, and exists', async (t) => {
  const tenant = await withApi(t)
  const { resource_server_identifier: _, ...unlinked } = LINKED
  const { app_type: __, ...untyped } = LINKED
  const nowhere = { ...LINKED, resource_server_identifier: 'https://nowhere.example' }
  assertFailed(await call(tenant, 'POST /clients', { body: unlinked }), 400, 'invalid_body')
  assertFailed(await call(tenant, 'POST /clients', { body: untyped }), 400, 'invalid_body')
  assertFailed(await call(tenant, 'POST /clients', { body: nowhere }), 404)
  await called(tenant, 'POST /clients', LINKED)
  assertFailed(await call(tenant, 'POST /clients', { body: LINKED }), 409)
})

test('which API a client is cannot be changed, and neither can that it is one', async (t) => {
  const tenant = await withApi(t)
  const { client_id: id } = await called(tenant, 'POST /clients', LINKED)
  const refused = await call(tenant, `PATCH /clients/${String(id)}`, {
    body: { resource_server_identifier: API },
  })
  assert.equal(
    refused.body['message'],
    "Payload validation error: 'Additional properties not allowed: resource_server_identifier'.",
  )
  const spa = { body: { app_type: 'spa' } }
  assertFailed(await call(tenant, `PATCH /clients/${String(id)}`, spa), 400)
  await called(tenant, `PATCH /clients/${String(id)}`, { app_type: 'resource_server' })
})

test('a change leaves what it does not name, and null ends what may end', async (t) => {
  const tenant = await withApi(t)
  const client = await called(tenant, 'POST /clients', { ...LINKED, description: 'Before' })
  const at = `/clients/${String(client['client_id'])}`
  const { description: _, token_exchange: __, ...rest } = client
  const changed = await called(tenant, `PATCH ${at}`, { description: 'After' })
  assert.deepEqual(changed, { ...client, description: 'After' })
  const ended = await called(tenant, `PATCH ${at}`, { token_exchange: null })
  assert.deepEqual(ended, { ...rest, description: 'After' })
  const set = await called(tenant, `PATCH ${at}`, { token_exchange: ON_BEHALF_OF })
  assert.deepEqual(set, changed)
  assertFailed(await call(tenant, `PATCH ${at}`, { body: {} }), 400, 'invalid_body')
})

test('jwt_configuration is merged, and refresh_token is replaced', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  const client = await called(tenant, 'POST /clients', {
    name: 'app',
    jwt_configuration: { lifetime_in_seconds: 60 },
  })
  const changed = await called(tenant, `PATCH /clients/${String(client['client_id'])}`, {
    jwt_configuration: { alg: 'RS256' },
    refresh_token: { rotation_type: 'rotating', expiration_type: 'expiring', leeway: 5 },
  })
  assert.deepEqual(changed['jwt_configuration'], {
    alg: 'RS256',
    lifetime_in_seconds: 60,
    secret_encoded: false,
  })
  assert.deepEqual(changed['refresh_token'], {
    rotation_type: 'rotating',
    expiration_type: 'expiring',
    leeway: 5,
    token_lifetime: 2_592_000,
    infinite_token_lifetime: false,
    idle_token_lifetime: 1_296_000,
    infinite_idle_token_lifetime: false,
  })
})

for (const [type, method, grants] of [
  ['spa', 'none', ['authorization_code', 'implicit', 'refresh_token']],
  ['non_interactive', 'client_secret_post', ['client_credentials']],
] as const) {
  test(`a client of type ${type} gets the grant types and the method of its type`, async (t) => {
    const tenant = await startTenant(t, { empty: true })
    const client = await called(tenant, 'POST /clients', { name: 'app', app_type: type })
    assert.deepEqual(client['grant_types'], grants)
    assert.equal(client['token_endpoint_auth_method'], method)
    assert.equal(client['client_secret'] === undefined, method === 'none')
  })
}

test('a secret is told only to those who may read keys, and set only by those who may', async (t) => {
  const tenant = await startTenant(t)
  const at = '/clients/storefront-gateway'
  const plain = { scope: 'read:clients update:clients' }
  assert.equal((await called(tenant, `GET ${at}`, undefined, plain))['client_secret'], undefined)
  const keys = { scope: 'read:clients read:client_keys' }
  assert.equal(
    (await called(tenant, `GET ${at}`, undefined, keys))['client_secret'],
    'demo-only-storefront-client-secret-0001',
  )
  const body = { client_secret: 'another-secret-of-the-storefront' }
  assertFailed(await call(tenant, `PATCH ${at}`, { ...plain, body }), 403, 'insufficient_scope')
  assert.equal((await called(tenant, `PATCH ${at}`, body))['client_secret'], body.client_secret)
  const rotated = await call(tenant, `POST ${at}/rotate-secret`)
  assert.equal(rotated.status, 200)
  assert.notEqual(rotated.body['client_secret'], body.client_secret)
})

test('a client that is made with a key has no secret to tell, until it has no key', async (t) => {
  const tenant = await withApi(t)
  const pem = newPem()
  const client = await called(tenant, 'POST /clients', {
    ...LINKED,
    client_authentication_methods: {
      private_key_jwt: { credentials: [{ credential_type: 'public_key', pem, name: 'one' }] },
    },
  })
  const at = `/clients/${String(client['client_id'])}`
  assert.equal(client['client_secret'], undefined)
  assert.equal(client['token_endpoint_auth_method'], undefined)
  const [credential] = (await called(tenant, `GET ${at}/credentials`)) as unknown as Json[]
  const methods = { private_key_jwt: { credentials: [{ id: credential?.['id'] }] } }
  assert.deepEqual(client['client_authentication_methods'], methods)
  const changed = await called(tenant, `PATCH ${at}`, {
    client_authentication_methods: null,
    token_endpoint_auth_method: 'client_secret_basic',
  })
  assert.equal(changed['token_endpoint_auth_method'], 'client_secret_basic')
  assert.match(String(changed['client_secret']), /^\w{64}$/)
  const again = await called(tenant, `PATCH ${at}`, { client_authentication_methods: methods })
  assert.deepEqual(again['client_authentication_methods'], methods)
  assert.equal(again['client_secret'], undefined)
  const both = {
    client_authentication_methods: methods,
    token_endpoint_auth_method: 'client_secret_post',
  }
  assertFailed(await call(tenant, `PATCH ${at}`, { body: both }), 400)
})

test('a credential is named by its thumbprint, and is not deleted while it is in use', async (t) => {
  const tenant = await withApi(t)
  const { client_id: id } = await called(tenant, 'POST /clients', LINKED)
  const at = `/clients/${String(id)}`
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = String(publicKey.export({ type: 'spki', format: 'pem' }))
  const made = await called(tenant, `POST ${at}/credentials`, {
    credential_type: 'public_key',
    pem,
  })
  assert.equal(made['kid'], await calculateJwkThumbprint(await exportJWK(publicKey)))
  assert.equal(made['alg'], 'RS256')
  assert.ok(!JSON.stringify(made).includes('BEGIN'))
  const again = { body: { credential_type: 'public_key', pem } }
  assertFailed(await call(tenant, `POST ${at}/credentials`, again), 400)
  const one = `${at}/credentials/${String(made['id'])}`
  assert.deepEqual(await called(tenant, `GET ${one}`), made)
  const expires = '2030-01-01T00:00:00.000Z'
  assert.equal(
    (await called(tenant, `PATCH ${one}`, { expires_at: expires }))['expires_at'],
    expires,
  )
  await called(tenant, `PATCH ${at}`, {
    client_authentication_methods: { private_key_jwt: { credentials: [{ id: made['id'] }] } },
  })
  assertFailed(await call(tenant, `DELETE ${one}`), 400, 'operation_not_supported')
  await called(tenant, `PATCH ${at}`, { client_authentication_methods: null })
  await called(tenant, `DELETE ${one}`)
  assertFailed(await call(tenant, `GET ${one}`), 404)
})

test('an unknown credential is none to authenticate by', async (t) => {
  const tenant = await withApi(t)
  const { client_id: id } = await called(tenant, 'POST /clients', LINKED)
  const body = {
    client_authentication_methods: { private_key_jwt: { credentials: [{ id: 'cred_other' }] } },
  }
  assertFailed(await call(tenant, `PATCH /clients/${String(id)}`, { body }), 404)
})

test('clients are listed by type, by page with a total, by checkpoint, and in part', async (t) => {
  const tenant = await startTenant(t)
  const gateways = await called(tenant, 'GET /clients?app_type=resource_server')
  assert.deepEqual(idsOf(gateways), ['storefront-gateway', 'backoffice-gateway'])
  const { clients, ...about } = await called(
    tenant,
    'GET /clients?page=0&per_page=2&include_totals=true',
  )
  assert.deepEqual(about, { start: 0, limit: 2, total: 4 })
  assert.equal((clients as unknown[]).length, 2)
  const first = await called(tenant, 'GET /clients?take=3')
  const next = String(first['next'])
  await called(tenant, 'POST /clients', { name: 'meanwhile' })
  const last = await called(tenant, `GET /clients?take=3&from=${next}&fields=name`)
  assert.deepEqual(last, { clients: [{ name: 'backoffice as a client' }, { name: 'meanwhile' }] })
  const wrong = await call(tenant, 'GET /clients?take=3&from=nowhere')
  assertFailed(wrong, 400, 'invalid_query_string')
})

test('a client that is deleted takes its grants along, and its API can have another one', async (t) => {
  const tenant = await startTenant(t)
  await called(tenant, 'DELETE /clients/storefront-gateway')
  assert.equal(tenant.state.clientGrants.size, 1)
  assertFailed(await call(tenant, 'GET /clients/storefront-gateway'), 404, 'inexistent_client')
  await called(tenant, 'POST /clients', {
    ...LINKED,
    resource_server_identifier: 'https://storefront.example',
  })
})

function idsOf(list: unknown): readonly unknown[] {
  return (list as { client_id: string }[]).map(({ client_id: id }) => id)
}
