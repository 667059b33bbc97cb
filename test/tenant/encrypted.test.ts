import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { compactDecrypt, decodeProtectedHeader } from 'jose'
import {
  ask,
  assertRefused,
  exchangeForm,
  ORDERS,
  startTenant,
  STOREFRONT,
  tokenOf,
  verified,
} from './ask.ts'
import { called } from './management.ts'

const AT = `/resource-servers/${encodeURIComponent(ORDERS)}`

test('an API with an encryption key gets tokens that it alone can read, until it has none', async (t) => {
  const tenant = await startTenant(t)
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = String(publicKey.export({ type: 'spki', format: 'pem' }))
  await called(tenant, `PATCH ${AT}`, {
    token_encryption: {
      format: 'compact-nested-jwe',
      encryption_key: { alg: 'RSA-OAEP-384', kid: 'orders-1', pem },
    },
  })
  const subjectToken = await tenant.token({ user: 'alice', audience: STOREFRONT })
  const token = tokenOf(await ask(tenant, exchangeForm(subjectToken)))
  assert.deepEqual(decodeProtectedHeader(token), {
    alg: 'RSA-OAEP-384',
    enc: 'A256GCM',
    cty: 'JWT',
    kid: 'orders-1',
  })
  const { plaintext } = await compactDecrypt(token, privateKey)
  const { claims } = await verified(tenant, Buffer.from(plaintext).toString())
  assert.deepEqual([claims.aud, claims.sub], [ORDERS, 'auth0|alice'])
  await called(tenant, `PATCH ${AT}`, { token_encryption: null })
  await verified(tenant, tokenOf(await ask(tenant, exchangeForm(subjectToken))))
})

test('a token that is encrypted cannot be made wrong by a fault, and the tenant says so', async (t) => {
  const tenant = await startTenant(t)
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const orders = tenant.state.resourceServers.get(ORDERS)
  assert.ok(orders)
  const subjectToken = await tenant.token({ user: 'alice', audience: STOREFRONT })
  tenant.fault({ kind: 'wrong_sub', times: 2 })
  tokenOf(await ask(tenant, exchangeForm(subjectToken)))
  orders.token_encryption = {
    format: 'compact-nested-jwe',
    encryption_key: {
      alg: 'RSA-OAEP-256',
      pem: String(publicKey.export({ type: 'spki', format: 'pem' })),
    },
  }
  assertRefused(await ask(tenant, exchangeForm(subjectToken)), 500, 'server_error')
})

for (const alg of ['RS512', 'PS256'] as const) {
  test(`an API may have its tokens signed by ${alg}`, async (t) => {
    const tenant = await startTenant(t)
    await called(tenant, `PATCH ${AT}`, { signing_alg: alg })
    const subjectToken = await tenant.token({ user: 'alice', audience: STOREFRONT })
    const token = tokenOf(await ask(tenant, exchangeForm(subjectToken)))
    assert.equal((await verified(tenant, token)).header['alg'], alg)
  })
}
