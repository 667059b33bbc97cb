import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { createKeys } from '../../src/authenticate/keys.ts'
import { createMetadata, type Metadata } from '../../src/authenticate/metadata.ts'
import type { Issuer } from '../../src/config/config.ts'
import { issuer } from '../support.ts'
import { NOW, outboundOf, serveDocuments, type Documents } from './issuer.ts'

const OPENID = '/.well-known/openid-configuration'
const OAUTH = '/.well-known/oauth-authorization-server'

async function discovering(
  t: TestContext,
  path = '/',
  given: Partial<Issuer> = {},
): Promise<{ issued: Documents; identifier: string; metadata: Metadata }> {
  const issued = await serveDocuments(t)
  const identifier = `${issued.origin}${path}`
  const metadata = createMetadata(issuer({ identifiers: [identifier], ...given }), outboundOf(t))
  return { issued, identifier, metadata }
}

function metadataOf(identifier: string, given: object = {}): object {
  return {
    issuer: identifier,
    jwks_uri: 'https://issuer.example/jwks',
    token_endpoint: 'https://issuer.example/token',
    ...given,
  }
}

for (const [path, asked] of [
  ['', OPENID],
  ['/', OPENID],
  ['/realms/one', `/realms/one${OPENID}`],
  ['/realms/one/', `/realms/one${OPENID}`],
] as const) {
  test(`an issuer at ${path || 'its origin'} is discovered at ${asked}`, async (t) => {
    const { issued, identifier, metadata } = await discovering(t, path)
    issued.documents.set(asked, metadataOf(identifier))
    assert.equal(await metadata(identifier, 'jwksUri'), 'https://issuer.example/jwks')
    assert.equal(await metadata(identifier, 'tokenEndpoint'), 'https://issuer.example/token')
    assert.deepEqual(issued.requests, [asked])
  })
}

for (const [path, asked] of [
  ['', OAUTH],
  ['/', OAUTH],
  ['/realms/one', `${OAUTH}/realms/one`],
  ['/realms/one/', `${OAUTH}/realms/one`],
] as const) {
  test(`without OpenID Connect, an issuer at ${path || 'its origin'} is discovered at ${asked}`, async (t) => {
    const { issued, identifier, metadata } = await discovering(t, path)
    issued.documents.set(asked, metadataOf(identifier))
    assert.equal(await metadata(identifier, 'tokenEndpoint'), 'https://issuer.example/token')
    assert.equal(issued.requests.length, 2)
  })
}

test('metadata that names another issuer is refused', async (t) => {
  const { issued, identifier, metadata } = await discovering(t)
  for (const other of [
    identifier.slice(0, -1),
    `${identifier}/`,
    'https://x.example/',
    undefined,
  ]) {
    t.mock.timers.enable({ apis: ['Date'], now: NOW + issued.requests.length * 10_000 })
    issued.documents.set(OPENID, metadataOf(identifier, { issuer: other }))
    await assert.rejects(async () => metadata(identifier, 'jwksUri'), /another issuer/)
    t.mock.timers.reset()
  }
  assert.equal(issued.requests.length, 4)
})

for (const [name, document] of [
  ['an array', '[]'],
  ['null', 'null'],
  ['a page', '<html>'],
  ['nothing', ''],
] as const) {
  test(`metadata that is ${name} is refused`, async (t) => {
    const { issued, identifier, metadata } = await discovering(t)
    issued.documents.set(OPENID, document)
    await assert.rejects(async () => metadata(identifier, 'jwksUri'), Error)
  })
}

for (const uri of [
  'http://issuer.example/jwks',
  'http://127.0.0.1.evil.example/jwks',
  'http://localhost.evil.example/jwks',
  'http://127.evil.example/jwks',
  'http://user@issuer.example/jwks',
  'ftp://127.0.0.1/jwks',
  'file:///etc/passwd',
  '/jwks',
  '',
  1,
  null,
  undefined,
]) {
  test(`the endpoint ${JSON.stringify(uri)} is refused`, async (t) => {
    const { issued, identifier, metadata } = await discovering(t)
    issued.documents.set(OPENID, metadataOf(identifier, { jwks_uri: uri }))
    await assert.rejects(async () => metadata(identifier, 'jwksUri'), /endpoint/)
  })
}

for (const [identifier, answered] of [
  ['https://issuer.example/', false],
  ['http://127.0.0.1:1/', true],
] as const) {
  test(`what ${identifier} says of plain http on this machine is ${answered ? 'taken' : 'refused'}`, async () => {
    const uri = 'http://127.0.0.1:8081/purge'
    const outbound = {
      fetch: async () => Response.json(metadataOf(identifier, { token_endpoint: uri })),
      close: async () => undefined,
    }
    const metadata = createMetadata(issuer({ identifiers: [identifier] }), outbound)
    const asked = async (): Promise<string> => metadata(identifier, 'tokenEndpoint')
    if (answered) assert.equal(await asked(), uri)
    else await assert.rejects(asked, /not https/)
  })
}

for (const uri of ['http://127.0.0.1:1/jwks', 'http://localhost/jwks', 'http://[::1]/jwks']) {
  test(`the endpoint ${uri} is on loopback, where http is accepted`, async (t) => {
    const { issued, identifier, metadata } = await discovering(t)
    issued.documents.set(OPENID, metadataOf(identifier, { jwks_uri: uri }))
    assert.equal(await metadata(identifier, 'jwksUri'), uri)
  })
}

test('http beyond loopback is accepted where the configuration says so', async (t) => {
  const { issued, identifier, metadata } = await discovering(t, '/', { dangerouslyAllowHttp: true })
  issued.documents.set(OPENID, metadataOf(identifier, { jwks_uri: 'http://issuer.example/jwks' }))
  assert.equal(await metadata(identifier, 'jwksUri'), 'http://issuer.example/jwks')
})

test('a redirect is not followed', async (t) => {
  const { issued, identifier, metadata } = await discovering(t)
  issued.broken = 302
  issued.documents.set(OPENID, metadataOf(identifier))
  await assert.rejects(async () => metadata(identifier, 'jwksUri'), /302/)
  assert.deepEqual(issued.requests, [OPENID])
})

test('what the configuration says is not asked for', async (t) => {
  const configured = { jwksUri: 'https://a.example/jwks', tokenEndpoint: 'https://b.example/token' }
  const { issued, identifier, metadata } = await discovering(t, '/', configured)
  assert.equal(await metadata(identifier, 'jwksUri'), configured.jwksUri)
  assert.equal(await metadata(identifier, 'tokenEndpoint'), configured.tokenEndpoint)
  assert.deepEqual(issued.requests, [])
})

test('a configured token endpoint is known without any metadata', async (t) => {
  const { issued, identifier, metadata } = await discovering(t, '/', {
    tokenEndpoint: 'https://b.example/token',
  })
  assert.equal(await metadata(identifier, 'tokenEndpoint'), 'https://b.example/token')
  assert.deepEqual(issued.requests, [])
})

test('metadata without a key set still tells the token endpoint', async (t) => {
  // RFC 8414, section 2: jwks_uri is optional; an API with a signing secret needs none.
  const { issued, identifier, metadata } = await discovering(t)
  issued.documents.set(OPENID, metadataOf(identifier, { jwks_uri: undefined }))
  assert.equal(await metadata(identifier, 'tokenEndpoint'), 'https://issuer.example/token')
  await assert.rejects(async () => metadata(identifier, 'jwksUri'), /endpoint/)
})

test('metadata outlives its issuer by a day', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { issued, identifier, metadata } = await discovering(t)
  issued.documents.set(OPENID, metadataOf(identifier))
  await metadata(identifier, 'jwksUri')
  issued.broken = 503
  t.mock.timers.tick(24 * 60 * 60_000)
  assert.equal(await metadata(identifier, 'jwksUri'), 'https://issuer.example/jwks')
  t.mock.timers.tick(24 * 60 * 60_000)
  await assert.rejects(async () => metadata(identifier, 'jwksUri'), /503/)
})

test('metadata that cannot be had makes the keys unavailable', async (t) => {
  const { issued, identifier, metadata } = await discovering(t)
  issued.broken = 500
  const keys = createKeys(identifier, { metadata, outbound: outboundOf(t), staleForMs: 3_600_000 })
  await assert.rejects(keys.current(), { code: 'keys_unavailable', status: 503, retryAfter: 1 })
  assert.equal(keys.epoch(), '')
})

test('an identifier that is not the issuer’s is a defect', async (t) => {
  const { metadata } = await discovering(t)
  await assert.rejects(async () => metadata('https://other.example/', 'jwksUri'), TypeError)
})

const ALIASES = { mtls_endpoint_aliases: { token_endpoint: 'https://mtls.issuer.example/token' } }

test('clients with a certificate go where the issuer sends them (RFC 8705, section 5)', async (t) => {
  const { issued, identifier, metadata } = await discovering(t)
  issued.documents.set(OPENID, metadataOf(identifier, ALIASES))
  assert.equal(
    await metadata(identifier, 'mutualTlsTokenEndpoint'),
    ALIASES.mtls_endpoint_aliases.token_endpoint,
  )
  assert.notEqual(
    await metadata(identifier, 'tokenEndpoint'),
    ALIASES.mtls_endpoint_aliases.token_endpoint,
  )
})

for (const mtls_endpoint_aliases of [undefined, {}, null, 'https://mtls.issuer.example/token']) {
  test(`without an alias (${JSON.stringify(mtls_endpoint_aliases)}) they go where all go`, async (t) => {
    const { issued, identifier, metadata } = await discovering(t)
    issued.documents.set(OPENID, metadataOf(identifier, { mtls_endpoint_aliases }))
    assert.equal(
      await metadata(identifier, 'mutualTlsTokenEndpoint'),
      await metadata(identifier, 'tokenEndpoint'),
    )
  })
}
