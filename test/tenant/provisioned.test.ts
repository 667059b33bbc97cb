import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Tenant } from '../../src/tenant/index.ts'
import { ask, assertRefused, exchangeForm, startTenant, tokenOf, verified } from './ask.ts'
import { called, type Json } from './management.ts'

const SOURCE = 'https://source.example'
const TARGET = 'https://target.example'
const at = (identifier: string): string => `/resource-servers/${encodeURIComponent(identifier)}`

/** What an exchange needs, one object after the other, as the Management API makes them. */
interface Bodies {
  readonly source: Json
  readonly target: Json
  readonly client: Json
  readonly grant: Json
}

const BODIES: Bodies = {
  source: { identifier: SOURCE, scopes: [{ value: 'use' }] },
  target: {
    identifier: TARGET,
    scopes: [{ value: 'read' }, { value: 'write' }],
    enforce_policies: true,
    skip_consent_for_verifiable_first_party_clients: true,
    subject_type_authorization: { user: { policy: 'require_client_grant' } },
  },
  client: {
    name: 'Source as a client',
    app_type: 'resource_server',
    resource_server_identifier: SOURCE,
    token_exchange: { allow_any_profile_of_type: ['on_behalf_of_token_exchange'] },
  },
  grant: { audience: TARGET, scope: ['read'], subject_type: 'user' },
}

/** Two of the same to exchange from, so that a client may be linked to the wrong one. */
const OTHER = 'https://other.example'

interface Provisioned {
  readonly tenant: Tenant
  readonly client: Json
  readonly grant: Json | undefined
  readonly exchange: (scope?: string) => ReturnType<typeof ask>
}

/** An empty tenant, a user who holds everything, and what the Management API was told. */
async function provision(
  t: TestContext,
  changes: { readonly [Name in keyof Bodies]?: Json | undefined } = {},
): Promise<Provisioned> {
  const bodies = Object.fromEntries(
    Object.entries(BODIES).map(([name, body]) => [
      name,
      { ...(body as Json), ...changes[name as keyof Bodies] },
    ]),
  ) as unknown as Bodies
  const tenant = await startTenant(t, { empty: true })
  await called(tenant, 'POST /resource-servers', { identifier: OTHER, scopes: [] })
  await called(tenant, 'POST /resource-servers', bodies.source)
  await called(tenant, 'POST /resource-servers', bodies.target)
  const client = await called(tenant, 'POST /clients', bodies.client)
  const isGranted = !('grant' in changes && changes.grant === undefined)
  const grant = isGranted
    ? await called(tenant, 'POST /client-grants', {
        ...bodies.grant,
        client_id: client['client_id'],
      })
    : undefined
  tenant.addUser('alice')
  tenant.state.addClient({ client_id: 'app', grant_types: ['password'] })
  const subjectToken = await tenant.token({ user: 'alice', audience: SOURCE, client: 'app' })
  const { client_id, client_secret } = client as Record<string, string>
  const exchange = (scope = 'read') =>
    ask(tenant, exchangeForm(subjectToken, { client_id, client_secret, audience: TARGET, scope }))
  return { tenant, client, grant, exchange }
}

test('what the Management API was told is enough for an exchange', async (t) => {
  const { tenant, exchange } = await provision(t)
  const token = tokenOf(await exchange())
  const { claims } = await verified(tenant, token)
  assert.deepEqual([claims.aud, claims.sub, claims['scope']], [TARGET, 'auth0|alice', 'read'])
})

test('without the flag of the client there is no exchange, and one change mends it', async (t) => {
  const { tenant, client, exchange } = await provision(t, { client: { token_exchange: {} } })
  assertRefused(await exchange(), 403, 'unauthorized_client')
  const body = { token_exchange: { allow_any_profile_of_type: ['custom_authentication'] } }
  const path = `PATCH /clients/${String(client['client_id'])}`
  await called(tenant, path, body)
  assertRefused(await exchange(), 403, 'unauthorized_client')
  await called(tenant, path, { token_exchange: BODIES.client['token_exchange'] })
  tokenOf(await exchange())
})

test('a client of another API than the token is for exchanges nothing', async (t) => {
  const { exchange } = await provision(t, { client: { resource_server_identifier: OTHER } })
  assertRefused(await exchange(), 403, 'unauthorized_client')
})

test('a client that is no API exchanges nothing, with the flag or without', async (t) => {
  const { tenant, client, exchange } = await provision(t)
  await called(tenant, `DELETE /clients/${String(client['client_id'])}`)
  assertRefused(await exchange(), 401, 'invalid_client')
  const { resource_server_identifier: _, ...body } = BODIES.client
  const plain = await called(tenant, 'POST /clients', { ...body, app_type: 'regular_web' })
  const { client_id, client_secret } = plain as Record<string, string>
  const subjectToken = await tenant.token({ user: 'alice', audience: SOURCE, client: 'app' })
  const form = exchangeForm(subjectToken, { client_id, client_secret, audience: TARGET })
  assertRefused(await ask(tenant, form), 403, 'unauthorized_client')
})

test('without a grant there is no exchange, and creating it mends it', async (t) => {
  const { tenant, client, exchange } = await provision(t, { grant: undefined })
  assertRefused(await exchange(), 403, 'access_denied')
  const grant = { ...BODIES.grant, client_id: client['client_id'] }
  await called(tenant, 'POST /client-grants', { ...grant, subject_type: 'client' })
  assertRefused(await exchange(), 403, 'access_denied')
  const open = { subject_type_authorization: { user: { policy: 'allow_all' } } }
  await called(tenant, `PATCH ${at(TARGET)}`, open)
  assertRefused(await exchange(), 403, 'access_denied')
  await called(tenant, 'POST /client-grants', grant)
  tokenOf(await exchange())
})

test('a grant without the scope gives nothing of it, and a change of the grant mends it', async (t) => {
  const { tenant, grant, exchange } = await provision(t, { grant: { scope: ['write'] } })
  assertRefused(await exchange(), 403, 'access_denied')
  const path = `PATCH /client-grants/${String(grant?.['id'])}`
  await called(tenant, path, { scope: ['write', 'read'] })
  tokenOf(await exchange())
  await called(tenant, path, { scope: [], allow_all_scopes: false })
  assertRefused(await exchange(), 403, 'access_denied')
  await called(tenant, path, { allow_all_scopes: true })
  tokenOf(await exchange('read write'))
})

test('a target that asks users for consent gives none, and one that skips it does', async (t) => {
  const skip = { skip_consent_for_verifiable_first_party_clients: false }
  const { tenant, exchange } = await provision(t, { target: skip })
  assertRefused(await exchange(), 403, 'consent_required')
  await called(tenant, `PATCH ${at(TARGET)}`, {
    skip_consent_for_verifiable_first_party_clients: true,
  })
  tokenOf(await exchange())
})

test("consent is not skipped for somebody else's client", async (t) => {
  const { tenant, client, exchange } = await provision(t, { client: { is_first_party: false } })
  assertRefused(await exchange(), 403, 'consent_required')
  await called(tenant, `PATCH /clients/${String(client['client_id'])}`, { is_first_party: true })
  tokenOf(await exchange())
})

test('a target that denies all users gives no token, and one with grants does', async (t) => {
  const policy = (name: string) => ({ subject_type_authorization: { user: { policy: name } } })
  const { tenant, exchange } = await provision(t, { target: policy('deny_all') })
  assertRefused(await exchange(), 403, 'access_denied')
  await called(tenant, `PATCH ${at(TARGET)}`, policy('require_client_grant'))
  tokenOf(await exchange())
})

test('a target that is not there is refused, and one that is is not', async (t) => {
  const { tenant, exchange } = await provision(t)
  tokenOf(await exchange())
  await called(tenant, `DELETE ${at(TARGET)}`)
  assertRefused(await exchange(), 403, 'access_denied')
})

test('a user gets what they hold where the target enforces policies, else what is granted', async (t) => {
  const { tenant, exchange } = await provision(t)
  const alice = tenant.state.users.get('alice')
  alice?.permissions.splice(0)
  assertRefused(await exchange(), 403, 'access_denied')
  await called(tenant, `PATCH ${at(TARGET)}`, { enforce_policies: false })
  tokenOf(await exchange())
})

test('a target that wants proof gives nothing without one, and a bearer token where it only may', async (t) => {
  const proof = (required: boolean) => ({
    proof_of_possession: { mechanism: 'dpop', required },
  })
  const { tenant, exchange } = await provision(t, { target: proof(true) })
  assertRefused(await exchange(), 400, 'invalid_request')
  await called(tenant, `PATCH ${at(TARGET)}`, proof(false))
  tokenOf(await exchange())
})

test('the Management API itself is no target of users', async (t) => {
  const { tenant, client } = await provision(t)
  const { client_id, client_secret } = client as Record<string, string>
  const subjectToken = await tenant.token({ user: 'alice', audience: SOURCE, client: 'app' })
  const form = { client_id, client_secret, audience: `${tenant.url}api/v2/`, scope: 'read:clients' }
  assertRefused(await ask(tenant, exchangeForm(subjectToken, form)), 403, 'access_denied')
})
