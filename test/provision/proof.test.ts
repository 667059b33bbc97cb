import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { apply } from '../../src/provision/apply.ts'
import type { Client, Tenant } from '../../src/tenant/index.ts'
import { createAuthority, NO_OPENSSL, selfSigned } from '../certificates.ts'
import { done, start, wantedOf, type Wants } from './tenant.ts'

const OPTIONS = { pruneScopes: false, lagMs: 1 }
const skip = NO_OPENSSL

function rsaKey(): string {
  return generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  }).privateKey
}

function withClient(client: object): Wants {
  return { changes: { 'apis.storefront.client': { id: '${CLIENT_ID}', ...client } } }
}

function clientOf({ state }: Tenant): Client {
  const [client] = state.clients.values()
  assert.ok(client)
  return client
}

test('a client with a certificate of an authority is known by its subject', { skip }, async (t) => {
  const { certificate, key } = createAuthority().issue('storefront')
  const { tenant, management, wanted, steps } = await start(t, withClient({ certificate, key }))
  await apply(management, wanted, OPTIONS)
  const { credentials, ...client } = clientOf(tenant)
  const [credential] = credentials
  assert.equal(credential?.credential_type, 'cert_subject_dn')
  assert.equal(credential.subject_dn, 'CN=storefront')
  assert.deepEqual(client.client_authentication_methods, {
    tls_client_auth: { credentials: [{ id: credential.id }] },
  })
  assert.deepEqual(done(await steps()), [])
})

test('a certificate that is renewed for the same subject is no drift', { skip }, async (t) => {
  const authority = createAuthority()
  const { management, wanted, steps, tenant } = await start(
    t,
    withClient(authority.issue('storefront')),
  )
  await apply(management, wanted, OPTIONS)
  const renewed = await wantedOf(tenant.url, withClient(authority.issue('storefront')))
  assert.deepEqual(done(await steps(renewed)), [])
  const other = await wantedOf(tenant.url, withClient(authority.issue('another')))
  assert.deepEqual(done(await steps(other)), ['update client client_authentication_methods'])
})

test('a client that signed its certificate itself is known by that one', { skip }, async (t) => {
  const own = selfSigned('storefront')
  const { tenant, management, wanted, steps } = await start(t, withClient(own))
  await apply(management, wanted, OPTIONS)
  const [credential] = clientOf(tenant).credentials
  const thumbprint = new X509Certificate(own.certificate).fingerprint256.replaceAll(':', '')
  assert.equal(credential?.credential_type, 'x509_cert')
  assert.equal(credential.thumbprint_sha256, Buffer.from(thumbprint, 'hex').toString('base64url'))
  assert.deepEqual(Object.keys(clientOf(tenant).client_authentication_methods ?? {}), [
    'self_signed_tls_client_auth',
  ])
  assert.deepEqual(done(await steps()), [])
  const renewed = await wantedOf(tenant.url, withClient(selfSigned('storefront')))
  assert.deepEqual(done(await steps(renewed)), ['update client client_authentication_methods'])
  await apply(management, renewed, OPTIONS)
  assert.deepEqual(done(await steps(renewed)), [])
  assert.equal(clientOf(tenant).credentials.length, 2)
})

test('a client goes from a secret to a certificate to a key and back', { skip }, async (t) => {
  const { tenant, management, wanted } = await start(t)
  const { certificate, key } = selfSigned('storefront')
  await apply(management, wanted, OPTIONS)
  const { client_id: id } = clientOf(tenant)
  for (const [client, method] of [
    [{ certificate, key }, 'self_signed_tls_client_auth'],
    [{ privateKey: rsaKey() }, 'private_key_jwt'],
    [{ secret: '${CLIENT_SECRET}' }, undefined],
  ] as const) {
    await apply(management, await wantedOf(tenant.url, withClient(client)), OPTIONS)
    const methods = clientOf(tenant).client_authentication_methods
    assert.equal(Object.keys(methods ?? {})[0], method)
    const secretMethod = clientOf(tenant).token_endpoint_auth_method
    assert.equal(secretMethod, method === undefined ? 'client_secret_post' : null)
  }
  assert.equal(clientOf(tenant).client_id, id)
})

test('the intermediate certificates of a chain stay at home', { skip }, async (t) => {
  const authority = createAuthority()
  const { certificate, key } = authority.issue('storefront')
  const chain = { certificate: `${certificate}${authority.certificate}`, key }
  const { wanted } = await start(t, withClient(chain))
  const pem = String(wanted.clients[0]?.proof?.credential['pem'])
  assert.equal(pem.match(/BEGIN CERTIFICATE/g)?.length, 1)
  assert.equal(new X509Certificate(pem).subject, 'CN=storefront')
})

test('a key that signs by PS256 is made so', async (t) => {
  const client = { privateKey: rsaKey(), algorithm: 'PS256' }
  const { tenant, management, wanted, steps } = await start(t, withClient(client))
  await apply(management, wanted, OPTIONS)
  assert.deepEqual(
    clientOf(tenant).credentials.map(({ alg }) => alg),
    ['PS256'],
  )
  assert.deepEqual(done(await steps()), [])
})

const EC = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
}).privateKey

for (const [what, client, message] of [
  [
    'a key on a curve',
    { privateKey: EC },
    /apis\.storefront\.client\.privateKey: Auth0 takes RSA keys alone \(RS256, PS256\)/,
  ],
  [
    "somebody else's assertions",
    { assertionFile: 'package.json' },
    /apis\.storefront\.client\.assertionFile: Auth0 trusts nobody else's assertions/,
  ],
] as const) {
  test(`${what} cannot be had from Auth0, and the reason is told`, async () => {
    const wanted = wantedOf('http://127.0.0.1:9/', withClient(client))
    await assert.rejects(wanted, { code: 'impossible', message })
  })
}

test('a key with a name that Auth0 would refuse is refused before anybody is asked', async () => {
  const privateKey = rsaKey()
  const wanted = (keyId: string) =>
    wantedOf('http://127.0.0.1:9/', withClient({ privateKey, keyId }))
  const message = /keyId: Auth0 takes 10 to 64 letters/
  await assert.rejects(wanted('too short'), { code: 'impossible', message })
  assert.equal((await wanted('long-enough')).clients[0]?.proof?.known['kid'], 'long-enough')
})

test('a client of 2019 has a secret and nothing else', async () => {
  const legacy = { 'issuers.tenant.profile': 'auth0-legacy' }
  const { changes } = withClient({ privateKey: rsaKey() })
  const wanted = (given: object) =>
    wantedOf('http://127.0.0.1:9/', { changes: { ...legacy, ...given } })
  await assert.rejects(wanted({ ...changes }), {
    code: 'impossible',
    message: /in a tenant of 2019 an API's client has a `secret` and nothing else/,
  })
  assert.equal((await wanted({})).clients.length, 1)
})
