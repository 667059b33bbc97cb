import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { createTenant } from '../../src/tenant/index.ts'
import {
  ask,
  assertRefused,
  exchangeForm,
  publishedKeys,
  startTenant,
  STOREFRONT,
  tokenOf,
  verified,
} from './ask.ts'
import { signingKey } from './signing-key.ts'

test('a new key signs from now on, and the previous one stays until it is dropped', async (t) => {
  const tenant = await startTenant(t)
  const asked = { user: 'alice', audience: STOREFRONT }
  const before = await tenant.token(asked)
  const [first] = (await publishedKeys(tenant)).keys
  await tenant.rotateKeys()
  const after = await tenant.token(asked)
  const both = await publishedKeys(tenant)
  assert.equal(both.keys.length, 2)
  assert.equal((await verified(tenant, before)).header['kid'], first?.kid)
  assert.equal((await verified(tenant, after)).header['kid'], both.keys[0]?.kid)
  assert.notEqual(both.keys[0]?.kid, first?.kid)
  tokenOf(await ask(tenant, exchangeForm(before)))

  tenant.dropPreviousKeys()
  assert.deepEqual((await publishedKeys(tenant)).keys, [both.keys[0]])
  assertRefused(await ask(tenant, exchangeForm(before)), 401, 'invalid_grant')
  tokenOf(await ask(tenant, exchangeForm(after)))
})

test('a tenant signs with the key that it is given, until that is rotated', async (t) => {
  const [one, other] = [await startTenant(t, { signingKey }), await startTenant(t, { signingKey })]
  const { keys } = await publishedKeys(one)
  const { n } = createPublicKey(signingKey).export({ format: 'jwk' })
  assert.deepEqual(
    keys.map((key) => key.n),
    [n],
  )
  assert.deepEqual(keys, (await publishedKeys(other)).keys)
  await verified(one, await one.token({ user: 'alice', audience: STOREFRONT }))
  await one.rotateKeys()
  assert.notEqual((await publishedKeys(one)).keys[0]?.n, n)
})

test('without a key each tenant makes one of its own', async (t) => {
  const tenants = [await createTenant(), await createTenant()]
  for (const tenant of tenants) t.after(() => tenant.close())
  const [one, other] = await Promise.all(tenants.map(publishedKeys))
  assert.notEqual(one!.keys[0]?.n, other!.keys[0]?.n)
})

for (const [what, pem] of [
  ['of another kind', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey],
  ['too short', generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey],
] as const) {
  test(`a signing key that is ${what} is refused`, async () => {
    const signingKey = pem.export({ type: 'pkcs8', format: 'pem' }).toString()
    await assert.rejects(createTenant({ signingKey }), TypeError)
  })
}

test('the key set holds no private part', async (t) => {
  const tenant = await startTenant(t)
  for (const key of (await publishedKeys(tenant)).keys) {
    assert.deepEqual(Object.keys(key).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use'])
    assert.deepEqual([key.alg, key.use, key.kty], ['RS256', 'sig', 'RSA'])
  }
})

test('discovery names what there is, under the issuer identifier that tokens carry', async (t) => {
  const tenant = await startTenant(t)
  const documents = await Promise.all(
    ['openid-configuration', 'oauth-authorization-server'].map(async (name) => {
      const response = await fetch(`${tenant.url}.well-known/${name}`)
      return (await response.json()) as Record<string, unknown>
    }),
  )
  assert.deepEqual(documents[0], documents[1])
  assert.deepEqual(documents[0], {
    issuer: tenant.url,
    token_endpoint: `${tenant.url}oauth/token`,
    jwks_uri: `${tenant.url}.well-known/jwks.json`,
    grant_types_supported: [
      'password',
      'client_credentials',
      'refresh_token',
      'urn:ietf:params:oauth:grant-type:token-exchange',
    ],
    response_types_supported: [],
    token_endpoint_auth_methods_supported: [
      'client_secret_basic',
      'client_secret_post',
      'private_key_jwt',
      'none',
    ],
    token_endpoint_auth_signing_alg_values_supported: ['RS256', 'RS384', 'PS256'],
    dpop_signing_alg_values_supported: ['ES256', 'RS256'],
  })
  assert.match(tenant.url, /^http:\/\/127\.0\.0\.1:\d+\/$/)
})

for (const listen of ['127.0.0.1:0', '127.8.9.10:0', 'localhost:0']) {
  test(`it listens at ${listen}`, async (t) => {
    const { url } = await startTenant(t, { listen })
    assert.equal(new URL(url).hostname, listen.replace(':0', ''))
    assert.equal((await fetch(`${url}.well-known/jwks.json`)).status, 200)
  })
}

for (const listen of [
  '0.0.0.0:0',
  '[::]:0',
  '192.0.2.1:0',
  '[::ffff:192.0.2.1]:0',
  'tenant.example:0',
  '127.0.0.1.example:0',
  '127.0.0.1',
  '127.0.0.1:65536',
  ':0',
]) {
  test(`it does not listen at ${listen}`, async () => {
    await assert.rejects(createTenant({ listen }), { name: 'ListenError' })
  })
}

test('closed, it answers nobody, and closing it again is no harm', async () => {
  const tenant = await createTenant()
  await tenant.close()
  await tenant.close()
  await assert.rejects(fetch(`${tenant.url}.well-known/jwks.json`))
})
