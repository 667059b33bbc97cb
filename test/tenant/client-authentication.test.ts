import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, assertRefused, basic, ORDERS, startTenant, tokenOf, type Parameters } from './ask.ts'
import type { Tenant } from '../../src/tenant/index.ts'

// Every character that form-encoding or the colon between the parts could spoil.
const ID = 'a batch: job'
const SECRET = 'a secret/with+signs that=need&care: 100%'

function addBatch({ state }: Tenant): void {
  state.addClient({
    client_id: ID,
    client_secret: SECRET,
    app_type: 'non_interactive',
    grant_types: ['client_credentials'],
  })
  state.addClientGrant({ client_id: ID, audience: ORDERS, scope: ['orders:read'] })
}

const UNAUTHENTICATED: Parameters = { grant_type: 'client_credentials', audience: ORDERS }
const POSTED: Parameters = { ...UNAUTHENTICATED, client_id: ID, client_secret: SECRET }

test('client_secret_post and client_secret_basic are equally good', async (t) => {
  const tenant = await startTenant(t)
  addBatch(tenant)
  tokenOf(await ask(tenant, POSTED))
  tokenOf(await ask(tenant, UNAUTHENTICATED, basic(ID, SECRET)))
  tokenOf(await ask(tenant, { ...UNAUTHENTICATED, client_id: ID }, basic(ID, SECRET)))
})

test('a failed client_secret_basic is told its scheme, a failed client_secret_post is not', async (t) => {
  const tenant = await startTenant(t)
  addBatch(tenant)
  const byHeader = await ask(tenant, UNAUTHENTICATED, basic(ID, 'wrong'))
  assertRefused(byHeader, 401, 'invalid_client')
  assert.match(byHeader.headers.get('www-authenticate') ?? '', /^Basic /)
  const byBody = await ask(tenant, { ...POSTED, client_secret: 'wrong' })
  assertRefused(byBody, 401, 'invalid_client')
  assert.equal(byBody.headers.get('www-authenticate'), null)
})

const encoded = (text: string): { readonly authorization: string } => ({
  authorization: `Basic ${Buffer.from(text).toString('base64')}`,
})

for (const [what, form, headers] of [
  ['no credentials', UNAUTHENTICATED, {}],
  ['an unknown client', { ...POSTED, client_id: 'nobody' }, {}],
  ['a client without its secret', { ...POSTED, client_secret: undefined }, {}],
  ['a secret that is longer by a character', { ...POSTED, client_secret: `${SECRET}x` }, {}],
  ['another scheme', UNAUTHENTICATED, { authorization: `Bearer ${SECRET}` }],
  ['Basic credentials that are not base64', UNAUTHENTICATED, { authorization: 'Basic ä' }],
  ['Basic credentials without a colon', UNAUTHENTICATED, encoded('a batch')],
  ['Basic credentials with a broken escape', UNAUTHENTICATED, encoded('a%2:b')],
] as const) {
  test(`${what} is no authentication`, async (t) => {
    const tenant = await startTenant(t)
    addBatch(tenant)
    assertRefused(await ask(tenant, form, headers), 401, 'invalid_client')
    tokenOf(await ask(tenant, POSTED))
  })
}

test('two ways at once are refused, even if both are right', async (t) => {
  const tenant = await startTenant(t)
  addBatch(tenant)
  assertRefused(await ask(tenant, POSTED, basic(ID, SECRET)), 400, 'invalid_request')
  const other = { ...UNAUTHENTICATED, client_id: 'spa' }
  assertRefused(await ask(tenant, other, basic(ID, SECRET)), 400, 'invalid_request')
})
