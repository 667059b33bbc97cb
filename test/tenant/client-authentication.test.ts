import assert from 'node:assert/strict'
import { generateKeyPairSync, randomUUID, type KeyObject } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import { SignJWT, type JWTPayload } from 'jose'
import { ask, assertRefused, basic, ORDERS, startTenant, tokenOf, type Parameters } from './ask.ts'
import { called } from './management.ts'
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

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

interface Signer {
  readonly tenant: Tenant
  /** An assertion that is good, but for what is changed. */
  readonly sign: (changes?: JWTPayload, key?: KeyObject) => Promise<Parameters>
  readonly credentialId: string
}

/** A client that has a key in place of a secret, as the Management API makes it. */
async function startSigner(t: TestContext): Promise<Signer> {
  const tenant = await startTenant(t)
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = String(publicKey.export({ type: 'spki', format: 'pem' }))
  const client = await called(tenant, 'POST /clients', {
    name: 'Signs',
    app_type: 'non_interactive',
    client_authentication_methods: {
      private_key_jwt: { credentials: [{ credential_type: 'public_key', pem }] },
    },
  })
  const id = String(client['client_id'])
  tenant.state.addClientGrant({ client_id: id, audience: ORDERS, scope: ['orders:read'] })
  const sign = async (changes: JWTPayload = {}, key = privateKey): Promise<Parameters> => ({
    ...UNAUTHENTICATED,
    client_assertion_type: ASSERTION_TYPE,
    client_assertion: await new SignJWT({
      ...{ iss: id, sub: id, aud: tenant.url, jti: randomUUID() },
      exp: Math.floor(Date.now() / 1_000) + 60,
      ...changes,
    })
      .setProtectedHeader({ alg: 'RS256' })
      .sign(key),
  })
  const [credential] = tenant.state.clients.get(id)?.credentials ?? []
  return { tenant, sign, credentialId: `${id}/credentials/${String(credential?.id)}` }
}

test('private_key_jwt is as good as a secret, once for each assertion', async (t) => {
  const { tenant, sign } = await startSigner(t)
  const form = await sign()
  tokenOf(await ask(tenant, form))
  assertRefused(await ask(tenant, form), 401, 'invalid_client')
  tokenOf(await ask(tenant, await sign({ aud: `${tenant.url}oauth/token` })))
})

test('an assertion of another key, client, audience or time is no client', async (t) => {
  const { tenant, sign } = await startSigner(t)
  const { privateKey: other } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const past = Math.floor(Date.now() / 1_000) - 60
  const wrong: readonly Parameters[] = [
    await sign({}, other),
    await sign({ iss: 'storefront-gateway' }),
    await sign({ sub: 'storefront-gateway' }),
    await sign({ aud: 'https://elsewhere.example/' }),
    await sign({ exp: past }),
    await sign({ jti: '' }),
    { ...(await sign()), client_id: 'storefront-gateway' },
    { ...(await sign()), client_assertion_type: 'urn:example:other' },
    { ...(await sign()), client_assertion: 'no.j.wt' },
  ]
  for (const form of wrong) assertRefused(await ask(tenant, form), 401, 'invalid_client')
  tokenOf(await ask(tenant, await sign()))
})

test('a client with a key cannot use its secret, nor both at once', async (t) => {
  const { tenant, sign } = await startSigner(t)
  const form = await sign()
  const [id = ''] = [...tenant.state.clients.keys()].slice(-1)
  const secret = tenant.state.clients.get(id)?.client_secret ?? ''
  const bySecret = { ...UNAUTHENTICATED, client_id: id, client_secret: secret }
  assertRefused(await ask(tenant, bySecret), 401, 'invalid_client')
  assertRefused(await ask(tenant, { ...form, client_secret: secret }), 400, 'invalid_request')
  tokenOf(await ask(tenant, form))
})

test('a credential that has expired proves nobody any more', async (t) => {
  const { tenant, sign, credentialId } = await startSigner(t)
  const at = `PATCH /clients/${credentialId}`
  await called(tenant, at, { expires_at: new Date(Date.now() + 60_000).toISOString() })
  tokenOf(await ask(tenant, await sign()))
  await called(tenant, at, { expires_at: new Date(Date.now() - 1_000).toISOString() })
  assertRefused(await ask(tenant, await sign()), 401, 'invalid_client')
})
