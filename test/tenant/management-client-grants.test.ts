import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ORDERS, startTenant, STOREFRONT } from './ask.ts'
import { assertFailed, call, called, type Json } from './management.ts'

const CLIENT = 'backoffice-gateway'
const GRANT = { client_id: CLIENT, audience: STOREFRONT, scope: ['read:orders'] }

test('a grant is for the client itself, unless it says for users; one of each', async (t) => {
  const tenant = await startTenant(t)
  const { id, ...own } = await called(tenant, 'POST /client-grants', GRANT)
  assert.match(String(id), /^cgr_\w{16}$/)
  assert.deepEqual(own, { ...GRANT, subject_type: 'client' })
  const users = { ...GRANT, subject_type: 'user' }
  await called(tenant, 'POST /client-grants', users)
  const again = await call(tenant, 'POST /client-grants', { body: users })
  assertFailed(again, 409)
  assert.equal(again.body['message'], 'client_grant already exists')
})

test('a grant is of what there is: client, API, and scopes', async (t) => {
  const tenant = await startTenant(t)
  const refused = async (changes: Json, status: number, code: string) =>
    assertFailed(
      await call(tenant, 'POST /client-grants', { body: { ...GRANT, ...changes } }),
      status,
      code,
    )
  await refused({ client_id: 'nobody' }, 404, 'inexistent_client')
  await refused({ audience: 'https://nowhere.example' }, 404, 'inexistent_resource_server')
  await refused({ scope: ['fly'] }, 400, 'invalid_body')
  await refused({ default_for: 'third_party_clients' }, 400, 'invalid_body')
  await called(tenant, 'POST /client-grants', GRANT)
})

test('scopes can be changed, and client, audience and subject type cannot', async (t) => {
  const tenant = await startTenant(t)
  const grant = await called(tenant, 'POST /client-grants', GRANT)
  const at = `/client-grants/${String(grant['id'])}`
  for (const [name, value] of [
    ['client_id', 'storefront-gateway'],
    ['audience', ORDERS],
    ['subject_type', 'user'],
  ] as const) {
    const refused = await call(tenant, `PATCH ${at}`, { body: { scope: [], [name]: value } })
    assertFailed(refused, 400, 'invalid_body')
  }
  const empty = await call(tenant, `PATCH ${at}`, { body: {} })
  assert.equal(
    empty.body['message'],
    "Payload validation error: 'Too few properties defined (0), minimum 1'.",
  )
  const scope = ['read:orders', 'write:orders']
  assert.deepEqual(await called(tenant, `PATCH ${at}`, { scope }), { ...grant, scope })
  assert.deepEqual(await called(tenant, `GET ${at}`), { ...grant, scope })
})

test('all scopes are granted in place of some, and taken back by some', async (t) => {
  const tenant = await startTenant(t)
  const grant = await called(tenant, 'POST /client-grants', {
    client_id: CLIENT,
    audience: STOREFRONT,
    allow_all_scopes: true,
  })
  assert.deepEqual([grant['allow_all_scopes'], grant['scope']], [true, undefined])
  const at = `/client-grants/${String(grant['id'])}`
  const body = { allow_all_scopes: true, scope: ['read:orders'] }
  assertFailed(await call(tenant, `PATCH ${at}`, { body }), 400)
  const some = await called(tenant, `PATCH ${at}`, { scope: ['read:orders'] })
  assert.deepEqual([some['allow_all_scopes'], some['scope']], [undefined, ['read:orders']])
})

test('what is for one kind of subject is refused to the other', async (t) => {
  const tenant = await startTenant(t)
  const ofClients = { organization_usage: 'allow', allow_any_organization: true }
  const ofUsers = { authorization_details_types: ['payment'] }
  const [users, clients] = [
    { ...GRANT, subject_type: 'user' },
    { ...GRANT, subject_type: 'client' },
  ]
  const refused = async (body: Json) =>
    assertFailed(await call(tenant, 'POST /client-grants', { body }), 400, 'invalid_body')
  await refused({ ...users, ...ofClients })
  await refused({ ...clients, ...ofUsers })
  const { id: _, ...one } = await called(tenant, 'POST /client-grants', { ...users, ...ofUsers })
  assert.deepEqual(one, { ...users, ...ofUsers })
  const { id: __, ...other } = await called(tenant, 'POST /client-grants', {
    ...clients,
    ...ofClients,
  })
  assert.deepEqual(other, { ...clients, ...ofClients })
})

test('grants are listed by client, audience and subject type, and by both kinds of page', async (t) => {
  const tenant = await startTenant(t)
  const count = async (query: string) =>
    ((await called(tenant, `GET /client-grants${query}`)) as unknown as Json[]).length
  assert.equal(await count(''), 4)
  assert.equal(await count('?client_id=storefront-gateway'), 2)
  assert.equal(await count(`?audience=${ORDERS}`), 2)
  assert.equal(await count(`?client_id=storefront-gateway&audience=${ORDERS}`), 1)
  assert.equal(await count('?subject_type=client'), 1)
  const query = '?page=1&per_page=3&include_totals=true'
  const { client_grants: some, ...about } = await called(tenant, `GET /client-grants${query}`)
  assert.deepEqual([about, (some as Json[]).length], [{ start: 3, limit: 3, total: 4 }, 1])
  const seen: unknown[] = []
  for (let from = ''; ;) {
    const page = await called(tenant, `GET /client-grants?take=2${from}`)
    seen.push(...(page['client_grants'] as Json[]).map(({ id }) => id))
    if (typeof page['next'] !== 'string') break
    from = `&from=${page['next']}`
  }
  assert.equal(new Set(seen).size, 4)
})

test('a grant that is deleted is gone, and one that is not there is as good as deleted', async (t) => {
  const tenant = await startTenant(t)
  const grant = await called(tenant, 'POST /client-grants', GRANT)
  const at = `/client-grants/${String(grant['id'])}`
  await called(tenant, `DELETE ${at}`)
  assertFailed(await call(tenant, `GET ${at}`), 404)
  await called(tenant, `DELETE ${at}`)
})
