import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, assertRefused, given, passwordForm, post, startTenant, tokenOf } from './ask.ts'

test('a form and JSON are read alike', async (t) => {
  const tenant = await startTenant(t, { clock: () => 1_700_000_000_000 })
  const json = JSON.stringify(Object.fromEntries(given(passwordForm())))
  const byForm = await ask(tenant, passwordForm())
  const byJson = await post(tenant, json, { 'content-type': 'application/json' })
  assert.equal(byForm.status, 200)
  assert.deepEqual(byJson.body, byForm.body)
})

test('no answer may be stored, be it a token or a refusal', async (t) => {
  const tenant = await startTenant(t)
  for (const form of [passwordForm(), passwordForm({ password: 'wrong' })]) {
    const { headers } = await ask(tenant, form)
    assert.equal(headers.get('cache-control'), 'no-store')
    assert.equal(headers.get('pragma'), 'no-cache')
    assert.equal(headers.get('x-powered-by'), null)
    assert.equal(headers.get('etag'), null)
  }
})

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const JSON_BODY = { 'content-type': 'application/json' }
const GOOD = new URLSearchParams(given(passwordForm())).toString()

for (const [what, body, headers, status] of [
  ['a parameter that comes twice', `${GOOD}&scope=read:orders`, FORM, 400],
  ['a body of another media type', GOOD, { 'content-type': 'text/plain' }, 400],
  ['JSON that is cut off', '{"grant_type":', JSON_BODY, 400],
  ['JSON that is no object', '["password"]', JSON_BODY, 400],
  ['JSON with a parameter that is no string', '{"grant_type":["password"]}', JSON_BODY, 400],
  ['a body of more than 64 KiB', `${GOOD}&x=${'y'.repeat(65_536)}`, FORM, 413],
] as const) {
  test(`${what} is refused`, async (t) => {
    const tenant = await startTenant(t)
    assertRefused(await post(tenant, body, headers), status, 'invalid_request')
    tokenOf(await post(tenant, GOOD, FORM))
  })
}

test('a body just below 64 KiB is read, and what is not known in it is ignored', async (t) => {
  const tenant = await startTenant(t)
  tokenOf(await post(tenant, `${GOOD}&x=${'y'.repeat(65_535 - GOOD.length - 3)}`, FORM))
})

test('a parameter without a value counts as left out', async (t) => {
  const tenant = await startTenant(t)
  assertRefused(await ask(tenant, passwordForm({ audience: '' })), 400, 'invalid_request')
  const { body } = await ask(tenant, passwordForm({ scope: '' }))
  assert.equal(body['scope'], 'read:orders write:orders read:inventory')
})

for (const grantType of ['authorization_code', 'constructor', '__proto__'] as const) {
  test(`the grant type ${grantType} is not supported`, async (t) => {
    const tenant = await startTenant(t)
    const refused = await ask(tenant, passwordForm({ grant_type: grantType }))
    assertRefused(refused, 400, 'unsupported_grant_type')
  })
}

test('a client gets only the grant types in its list', async (t) => {
  const tenant = await startTenant(t)
  tokenOf(await ask(tenant, passwordForm()))
  tenant.state.clients.get('spa')!.grant_types = ['refresh_token']
  assertRefused(await ask(tenant, passwordForm()), 403, 'unauthorized_client')
})

test('another path or method is not found', async (t) => {
  const tenant = await startTenant(t)
  assert.equal((await fetch(`${tenant.url}oauth/token`)).status, 404)
  assert.equal((await fetch(`${tenant.url}oauth`, { method: 'POST' })).status, 404)
})

test('requests are kept in mind without their secrets', async (t) => {
  const tenant = await startTenant(t)
  await ask(tenant, passwordForm())
  await ask(tenant, passwordForm({ password: 'wrong' }))
  await ask(tenant, {})
  assert.deepEqual(tenant.requests(), [
    { grantType: 'password', clientId: 'spa', outcome: 'ok' },
    { grantType: 'password', clientId: 'spa', outcome: 'invalid_grant' },
    { grantType: undefined, clientId: undefined, outcome: 'invalid_request' },
  ])
  assert.equal(tenant.exchanges(), 0)
})
