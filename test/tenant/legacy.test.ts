import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Tenant } from '../../src/tenant/index.ts'
import {
  ask,
  assertRefused,
  exchangeForm,
  ORDERS,
  startTenant,
  STOREFRONT,
  STOREFRONT_CLIENT,
  tokenOf,
  verified,
  type Parameters,
} from './ask.ts'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const ORDERS_AT = encodeURIComponent(ORDERS)
const STOREFRONT_AT = encodeURIComponent(STOREFRONT)

type Json = Record<string, unknown>

/** Not held against a description: there is none of 2019. */
async function call(
  tenant: Tenant,
  method: string,
  path: string,
  body?: Json,
): Promise<readonly [number, Json]> {
  const response = await fetch(`${tenant.url}api/v2/${path}`, {
    method,
    headers: {
      authorization: `Bearer ${await tenant.managementToken()}`,
      'content-type': 'application/json',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return [response.status, (await response.json()) as Json]
}

/** As draft 19 has it: no type is asked for. */
function legacyForm(subjectToken: string, changes: Parameters = {}): Parameters {
  return exchangeForm(subjectToken, { requested_token_type: undefined, ...changes })
}

function startLegacy(t: TestContext): Promise<Tenant> {
  return startTenant(t, { generation: 'legacy' })
}

const subjectToken = (tenant: Tenant): Promise<string> =>
  tenant.token({ user: 'alice', audience: STOREFRONT })

test('a legacy exchange impersonates: no type is asked for, and nobody acts', async (t) => {
  const tenant = await startLegacy(t)
  const { status, body } = await ask(tenant, legacyForm(await subjectToken(tenant)))
  assert.equal(status, 200)
  assert.deepEqual(Object.keys(body), ['access_token', 'token_type', 'expires_in'])
  const { claims } = await verified(tenant, String(body['access_token']))
  assert.deepEqual([claims.sub, claims.aud, claims['act']], ['auth0|alice', ORDERS, undefined])
})

test('the exchange of today is refused without its type, which the legacy one needs not', async (t) => {
  const current = await startTenant(t)
  const form = legacyForm(await subjectToken(current))
  assertRefused(await ask(current, form), 400, 'invalid_request')
})

test('an API exchanges nothing until it says which tokens', async (t) => {
  const tenant = await startLegacy(t)
  const form = legacyForm(await subjectToken(tenant))
  const path = `resource-servers/${STOREFRONT_AT}`
  await call(tenant, 'PATCH', path, { token_exchange: { enabled_subject_token_types: [] } })
  assertRefused(await ask(tenant, form), 403, 'unauthorized_client')
  const [status, changed] = await call(tenant, 'PATCH', path, {
    token_exchange: { enabled_subject_token_types: [ACCESS_TOKEN] },
  })
  assert.deepEqual(
    [status, changed['token_exchange']],
    [200, { enabled_subject_token_types: [ACCESS_TOKEN] }],
  )
  tokenOf(await ask(tenant, form))
})

test('the list and the single value of the guides mean the same', async (t) => {
  const tenant = await startLegacy(t)
  const [status, changed] = await call(tenant, 'PATCH', `resource-servers/${STOREFRONT_AT}`, {
    token_exchange: [{ enabled_subject_token_types: ACCESS_TOKEN }],
    client: [{ grant_types: 'refresh_token' }],
  })
  assert.equal(status, 200)
  assert.deepEqual(changed['token_exchange'], { enabled_subject_token_types: [ACCESS_TOKEN] })
  assert.deepEqual(changed['client'], { grant_types: ['refresh_token'] })
})

test('an API gets credentials with what they are for, and a grant pairs it with another', async (t) => {
  const tenant = await startTenant(t, { generation: 'legacy', empty: true })
  const [source, target] = ['https://source.example', 'https://target.example']
  await call(tenant, 'POST', 'resource-servers', { identifier: source })
  await call(tenant, 'POST', 'resource-servers', {
    identifier: target,
    scopes: [{ value: 'read' }],
    skip_consent_for_verifiable_first_party_clients: true,
  })
  const [, changed] = await call(
    tenant,
    'PATCH',
    `resource-servers/${encodeURIComponent(source)}`,
    { token_exchange: { enabled_subject_token_types: [ACCESS_TOKEN] } },
  )
  const [, client] = await call(tenant, 'GET', `clients/${String(changed['client_id'])}`)
  const { client_id, client_secret } = client as Record<string, string>
  tenant.addUser('alice')
  tenant.state.addClient({ client_id: 'app', grant_types: ['password'] })
  const token = await tenant.token({ user: 'alice', audience: source, client: 'app' })
  const form = legacyForm(token, { client_id, client_secret, audience: target, scope: 'read' })
  assertRefused(await ask(tenant, form), 403, 'access_denied')
  const [status, grant] = await call(tenant, 'POST', 'client-grants', {
    client_id,
    audience: target,
    scope: ['read'],
  })
  assert.deepEqual([status, grant['subject_type']], [201, undefined])
  tokenOf(await ask(tenant, form))
})

test('scopes beyond the grant are refused, and not dropped', async (t) => {
  const tenant = await startLegacy(t)
  const token = await subjectToken(tenant)
  const [grant] = [...tenant.state.clientGrants.values()]
  const path = `client-grants/${String(grant?.id)}`
  await call(tenant, 'PATCH', path, { scope: ['orders:read'] })
  const both = legacyForm(token, { scope: 'orders:read orders:write' })
  assertRefused(await ask(tenant, both), 403, 'access_denied')
  await call(tenant, 'PATCH', path, { scope: ['orders:read', 'orders:write'] })
  tokenOf(await ask(tenant, both))
})

test('a target that asks for consent is refused, and one that skips it is not', async (t) => {
  const tenant = await startLegacy(t)
  const form = legacyForm(await subjectToken(tenant))
  const name = 'skip_consent_for_verifiable_first_party_clients'
  await call(tenant, 'PATCH', `resource-servers/${ORDERS_AT}`, { [name]: false })
  assertRefused(await ask(tenant, form), 403, 'consent_required')
  await call(tenant, 'PATCH', `resource-servers/${ORDERS_AT}`, { [name]: true })
  tokenOf(await ask(tenant, form))
})

test('a refresh token needs the target to allow it, the API to use it, and the scope', async (t) => {
  const tenant = await startLegacy(t)
  const token = await subjectToken(tenant)
  const scope = 'orders:read offline_access'
  const refreshToken = async (asked: string) =>
    (await ask(tenant, legacyForm(token, { scope: asked }))).body['refresh_token']
  const allow = (allow_offline_access: boolean) =>
    call(tenant, 'PATCH', `resource-servers/${ORDERS_AT}`, { allow_offline_access })
  await allow(true)
  assert.equal(await refreshToken(scope), undefined)
  const client = { grant_types: ['refresh_token'] }
  await call(tenant, 'PATCH', `resource-servers/${STOREFRONT_AT}`, { client })
  await allow(false)
  assert.equal(await refreshToken(scope), undefined)
  await allow(true)
  assert.equal(await refreshToken('orders:read'), undefined)
  const refreshed = await ask(tenant, {
    grant_type: 'refresh_token',
    ...STOREFRONT_CLIENT,
    refresh_token: String(await refreshToken(scope)),
  })
  const { claims } = await verified(tenant, tokenOf(refreshed))
  assert.deepEqual([claims.sub, claims.aud], ['auth0|alice', ORDERS])
})

for (const [kind, body] of [
  ['resource-servers', { identifier: 'https://a.example', proof_of_possession: null }],
  ['resource-servers', { identifier: 'https://a.example', subject_type_authorization: {} }],
  ['clients', { name: 'app', token_exchange: {} }],
  ['clients', { name: 'app', resource_server_identifier: STOREFRONT }],
  ['client-grants', { client_id: 'spa', audience: ORDERS, subject_type: 'user' }],
] as const) {
  const name = Object.keys(body).at(-1) ?? ''
  test(`a legacy tenant knows no ${name} of ${kind}`, async (t) => {
    const tenant = await startLegacy(t)
    const [status, answer] = await call(tenant, 'POST', kind, body)
    assert.deepEqual(
      [status, answer['message']],
      [400, `Payload validation error: 'Additional properties not allowed: ${name}'.`],
    )
    const { [name as keyof typeof body]: _, ...rest } = body as Json
    assert.equal((await call(tenant, 'POST', kind, rest))[0], 201)
  })
}

for (const [name, value] of [
  ['token_exchange', { enabled_subject_token_types: [ACCESS_TOKEN] }],
  ['client', { grant_types: ['refresh_token'] }],
] as const) {
  test(`a tenant of today knows no ${name} of an API`, async (t) => {
    const tenant = await startTenant(t)
    const path = `resource-servers/${STOREFRONT_AT}`
    const [status, answer] = await call(tenant, 'PATCH', path, { [name]: value })
    assert.deepEqual(
      [status, answer],
      [
        400,
        {
          statusCode: 400,
          error: 'Bad Request',
          message: `Payload validation error: 'Additional properties not allowed: ${name}'.`,
          errorCode: 'invalid_body',
        },
      ],
    )
  })
}
