import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tenant } from '../../src/tenant/index.ts'
import { ask, assertRefused, INVENTORY, ORDERS, startTenant, tokenOf, verified } from './ask.ts'

const FORM = {
  grant_type: 'client_credentials',
  client_id: 'batch',
  client_secret: 'a secret of the batch job',
  audience: ORDERS,
  scope: 'orders:read',
}

function addBatch({ state }: Tenant): void {
  state.addClient({
    client_id: 'batch',
    client_secret: FORM.client_secret,
    app_type: 'non_interactive',
    grant_types: ['client_credentials'],
  })
  state.addClientGrant({ client_id: 'batch', audience: ORDERS, scope: ['orders:read'] })
}

test('a client gets a token for itself within its grant', async (t) => {
  const tenant = await startTenant(t)
  addBatch(tenant)
  const answered = await ask(tenant, FORM)
  const { claims } = await verified(tenant, tokenOf(answered))
  assert.equal('scope' in answered.body, false)
  assert.equal(claims.sub, 'batch@clients')
  assert.deepEqual(
    [claims['azp'], claims['gty'], claims['scope']],
    ['batch', 'client-credentials', 'orders:read'],
  )
  const everything = await ask(tenant, { ...FORM, scope: undefined })
  assert.equal(everything.body['scope'], 'orders:read')
})

for (const [what, changes, status, error] of [
  ['an API without a grant', { audience: INVENTORY, scope: undefined }, 403, 'access_denied'],
  ['an unknown API', { audience: 'https://nowhere.example' }, 403, 'access_denied'],
  ['a scope beyond the grant', { scope: 'orders:read orders:write' }, 403, 'access_denied'],
  ['no audience', { audience: undefined }, 400, 'invalid_request'],
] as const) {
  test(`a client for itself and ${what}: no token`, async (t) => {
    const tenant = await startTenant(t)
    addBatch(tenant)
    assertRefused(await ask(tenant, { ...FORM, ...changes }), status, error)
    tokenOf(await ask(tenant, FORM))
  })
}

test("a grant for users is none for the client itself, nor a policy's word against clients", async (t) => {
  const tenant = await startTenant(t)
  addBatch(tenant)
  const policy = tenant.state.resourceServers.get(ORDERS)!.subject_type_authorization.client
  policy.policy = 'deny_all'
  assertRefused(await ask(tenant, FORM), 403, 'access_denied')
  policy.policy = 'require_client_grant'
  tokenOf(await ask(tenant, FORM))
  const grant = tenant.state.grantOf(
    tenant.state.clients.get('batch')!,
    tenant.state.resourceServers.get(ORDERS)!,
    'client',
  )
  tenant.state.removeClientGrant(grant!.id)
  tenant.state.addClientGrant({
    client_id: 'batch',
    audience: ORDERS,
    scope: ['orders:read'],
    subject_type: 'user',
  })
  assertRefused(await ask(tenant, FORM), 403, 'access_denied')
})

test('a public client cannot act for itself', async (t) => {
  const tenant = await startTenant(t)
  addBatch(tenant)
  const client = tenant.state.clients.get('batch')!
  client.token_endpoint_auth_method = 'none'
  assertRefused(await ask(tenant, FORM), 403, 'unauthorized_client')
  client.token_endpoint_auth_method = 'client_secret_basic'
  tokenOf(await ask(tenant, FORM))
})
