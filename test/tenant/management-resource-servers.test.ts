import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { calculateJwkThumbprint, exportJWK } from 'jose'
import { startTenant } from './ask.ts'
import { assertFailed, call, called } from './management.ts'

const API = 'https://api.example/v1'
const AT = `/resource-servers/${encodeURIComponent(API)}`

test('an API that is only named is told with the defaults of a real tenant', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  const { id, ...rest } = await called(tenant, 'POST /resource-servers', { identifier: API })
  assert.match(String(id), /^[0-9a-f]{24}$/)
  assert.deepEqual(rest, {
    identifier: API,
    allow_offline_access: false,
    skip_consent_for_verifiable_first_party_clients: false,
    subject_type_authorization: {
      client: { policy: 'require_client_grant' },
      user: { policy: 'allow_all' },
    },
    token_lifetime: 86_400,
    token_lifetime_for_web: 7_200,
    signing_alg: 'RS256',
  })
})

test('what was set is told from then on, be it the default', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  const set = { scopes: [], enforce_policies: false, token_dialect: 'access_token' }
  const created = await called(tenant, 'POST /resource-servers', { identifier: API })
  assert.deepEqual(
    Object.keys(set).filter((name) => name in created),
    [],
  )
  const changed = await called(tenant, `PATCH ${AT}`, set)
  assert.deepEqual(changed, { ...created, ...set })
  assert.deepEqual(await called(tenant, `GET ${AT}`), changed)
})

test('an API goes by its id and by its identifier', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  const created = await called(tenant, 'POST /resource-servers', { identifier: API })
  assert.deepEqual(await called(tenant, `GET /resource-servers/${String(created['id'])}`), created)
  assert.deepEqual(await called(tenant, `GET ${AT}`), created)
  const changed = await called(tenant, `PATCH ${AT}`, { name: 'Changed' })
  assert.deepEqual(changed, { ...created, name: 'Changed' })
  await called(tenant, `DELETE ${AT}`)
  assertFailed(await call(tenant, `GET ${AT}`), 404, 'inexistent_resource_server')
})

test('an HS256 API is given a secret, or keeps its own; another has none to give', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  const given = { identifier: API, signing_alg: 'HS256' }
  const created = await called(tenant, 'POST /resource-servers', given)
  assert.match(String(created['signing_secret']), /^[A-Za-z0-9]{32}$/)
  const changed = await called(tenant, `PATCH ${AT}`, { signing_secret: 'sixteen-or-more-' })
  assert.equal(changed['signing_secret'], 'sixteen-or-more-')
  const plain = await called(tenant, `PATCH ${AT}`, { signing_alg: 'RS256' })
  assert.equal(plain['signing_secret'], undefined)
  assertFailed(
    await call(tenant, `PATCH ${AT}`, { body: { signing_secret: 'sixteen-or-more-' } }),
    400,
    'invalid_body',
  )
})

test('the identifier cannot be changed, and the rest of a refused change is not done', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  const before = await called(tenant, 'POST /resource-servers', { identifier: API })
  const body = { name: 'Changed', identifier: 'https://other.example' }
  const refused = await call(tenant, `PATCH ${AT}`, { body })
  assertFailed(refused, 400, 'invalid_body')
  assert.equal(
    refused.body['message'],
    "Payload validation error: 'Additional properties not allowed: identifier'.",
  )
  assert.deepEqual(await called(tenant, `GET ${AT}`), before)
})

test('a second API with the same identifier is a conflict, and another one is none', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  await called(tenant, 'POST /resource-servers', { identifier: API })
  const again = await call(tenant, 'POST /resource-servers', { body: { identifier: API } })
  assertFailed(again, 409)
  assert.equal(again.body['message'], 'A resource server with the same identifier already exists')
  await called(tenant, 'POST /resource-servers', { identifier: `${API}/other` })
})

test('scopes are replaced as a whole, and must not repeat', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  const [read, write] = [{ value: 'read', description: 'Reads' }, { value: 'write' }]
  await called(tenant, 'POST /resource-servers', { identifier: API, scopes: [read] })
  const changed = await called(tenant, `PATCH ${AT}`, { scopes: [write] })
  assert.deepEqual(changed['scopes'], [write])
  assertFailed(await call(tenant, `PATCH ${AT}`, { body: { scopes: [read, read] } }), 400)
})

test('one half of subject_type_authorization leaves the other as it was', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  await called(tenant, 'POST /resource-servers', { identifier: API })
  const user = { policy: 'require_client_grant' }
  const changed = await called(tenant, `PATCH ${AT}`, { subject_type_authorization: { user } })
  assert.deepEqual(changed['subject_type_authorization'], {
    user,
    client: { policy: 'require_client_grant' },
  })
})

test('an encryption key is told by its thumbprint, and ended by null', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = String(publicKey.export({ type: 'spki', format: 'pem' }))
  const encryption = (text: string) => ({
    token_encryption: {
      format: 'compact-nested-jwe',
      encryption_key: { alg: 'RSA-OAEP-256', kid: 'one', pem: text },
    },
  })
  await called(tenant, 'POST /resource-servers', { identifier: API })
  const changed = await called(tenant, `PATCH ${AT}`, encryption(pem))
  assert.deepEqual(changed['token_encryption'], {
    format: 'compact-nested-jwe',
    encryption_key: {
      alg: 'RSA-OAEP-256',
      kid: 'one',
      thumbprint_sha256: await calculateJwkThumbprint(await exportJWK(publicKey)),
    },
  })
  const secret = String(privateKey.export({ type: 'pkcs8', format: 'pem' }))
  assertFailed(await call(tenant, `PATCH ${AT}`, { body: encryption(secret) }), 400)
  assertFailed(await call(tenant, `PATCH ${AT}`, { body: encryption('no key') }), 400)
  const ended = await called(tenant, `PATCH ${AT}`, { token_encryption: null })
  assert.equal(ended['token_encryption'], null)
})

test('APIs are listed by identifier, by page, and with a total', async (t) => {
  const tenant = await startTenant(t, { empty: true })
  for (const name of ['a', 'b', 'c']) {
    await called(tenant, 'POST /resource-servers', { identifier: `https://${name}.example` })
  }
  const named = await called(
    tenant,
    'GET /resource-servers?identifiers=https://a.example&identifiers=https://c.example',
  )
  assert.deepEqual(identifiersOf(named), ['https://a.example', 'https://c.example'])
  const page = await called(tenant, 'GET /resource-servers?page=1&per_page=2&include_totals=true')
  const { resource_servers: some, ...about } = page
  assert.deepEqual(about, { start: 2, limit: 2, total: 4 })
  assert.deepEqual(identifiersOf(some), ['https://b.example', 'https://c.example'])
  assert.deepEqual(identifiersOf(await called(tenant, 'GET /resource-servers?page=9')), [])
})

for (const query of ['per_page=101', 'per_page=0', 'page=-1', 'page=x', 'colour=red', 'take=5']) {
  test(`a list with ${query} is refused`, async (t) => {
    const tenant = await startTenant(t)
    const refused = await call(tenant, `GET /resource-servers?${query}`)
    assertFailed(refused, 400, 'invalid_query_string')
  })
}

test("the tenant's own API is there, keeps its name, and cannot be deleted", async (t) => {
  const tenant = await startTenant(t, { empty: true })
  const at = `/resource-servers/${encodeURIComponent(`${tenant.url}api/v2/`)}`
  const own = await called(tenant, `GET ${at}`)
  assert.equal(own['is_system'], true)
  const code = 'operation_not_supported'
  assertFailed(await call(tenant, `PATCH ${at}`, { body: { name: 'Mine' } }), 400, code)
  assertFailed(await call(tenant, `DELETE ${at}`), 400, code)
  assert.equal((await called(tenant, `PATCH ${at}`, { token_lifetime: 60 }))['token_lifetime'], 60)
})

function identifiersOf(list: unknown): readonly unknown[] {
  return (list as { identifier: string }[]).map(({ identifier }) => identifier)
}
