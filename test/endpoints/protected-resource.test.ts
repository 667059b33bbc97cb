import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import express from 'express'
import { readConfig } from '../../src/config/load.ts'
import { metadataOf } from '../../src/endpoints/protected-resource.ts'
import { createLog } from '../../src/log.ts'
import { embed } from '../../src/server/embed.ts'
import { startIssuer } from '../issuer.ts'
import { listen } from '../support.ts'
import { bearer, oneRoute, startGateway, startUpstream, type Gateway } from '../system.ts'

const ORIGIN = 'https://gateway.example'
const RESOURCE = `${ORIGIN}/orders`
const METADATA = '/.well-known/oauth-protected-resource/orders'

async function published(t: TestContext, api: object = { resource: RESOURCE }): Promise<Gateway> {
  return startGateway(t, await configuration(t, api))
}

async function configuration(t: TestContext, api: object): Promise<object> {
  const [issuer, upstream] = await Promise.all([startIssuer(t), startUpstream(t)])
  return {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin, api }),
    server: { listen: '127.0.0.1:0', publicOrigin: ORIGIN },
  }
}

test('an API with a resource tells everybody how it is protected', async (t) => {
  const { origin } = await published(t)
  const response = await fetch(origin + METADATA)
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-type'), 'application/json')
  assert.equal(response.headers.get('cache-control'), 'public, max-age=600')
  assert.equal(response.headers.get('access-control-allow-origin'), '*')
  const { authorization_servers: issuers, ...metadata } = (await response.json()) as {
    readonly authorization_servers: readonly string[]
  }
  assert.deepEqual(metadata, {
    resource: RESOURCE,
    scopes_supported: ['read:orders'],
    bearer_methods_supported: ['header'],
  })
  assert.match(issuers.join(), /^http:\/\/127\.0\.0\.1:\d+\/$/)
})

test('the challenge of a 401 leads to metadata whose resource is the one that was asked for', async (t) => {
  const { origin } = await published(t)
  const refused = await fetch(`${origin}/orders`)
  assert.equal(refused.status, 401)
  const [, address] =
    /^Bearer resource_metadata="([^"]+)"$/.exec(refused.headers.get('www-authenticate') ?? '') ?? []
  assert.equal(address, ORIGIN + METADATA)
  const response = await fetch(origin + new URL(address!).pathname)
  const { resource } = (await response.json()) as { readonly resource: string }
  // RFC 9728, section 3.3: what the well-known part was inserted into.
  assert.equal(address.replace('/.well-known/oauth-protected-resource', ''), resource)
})

test('a token that is refused is told where the metadata is', async (t) => {
  const { origin } = await published(t)
  const { headers } = await fetch(`${origin}/orders`, bearer('a.b.c'))
  const challenge = headers.get('www-authenticate') ?? ''
  assert.match(challenge, /^Bearer error="invalid_token", error_description="[^"]+", /)
  assert.ok(challenge.endsWith(`, resource_metadata="${ORIGIN}${METADATA}"`))
})

test('an API without a resource publishes nothing', async (t) => {
  const { origin } = await published(t, {})
  const response = await fetch(origin + METADATA)
  assert.equal(response.status, 404)
  assert.equal(response.headers.get('access-control-allow-origin'), null)
  const { headers } = await fetch(`${origin}/orders`)
  assert.equal(headers.get('www-authenticate'), 'Bearer')
})

for (const path of [
  '/.well-known/oauth-protected-resource',
  `${METADATA}/1`,
  `${METADATA}/`,
  '/.well-known/oauth-protected-resource/Orders',
  '/.well-known/oauth-protected-resource/%6frders',
  '/orders/.well-known/oauth-protected-resource',
]) {
  test(`there is no metadata at ${path}`, async (t) => {
    const { origin } = await published(t)
    const { status, headers } = await fetch(origin + path)
    assert.ok([400, 401, 404].includes(status), String(status))
    assert.equal(headers.get('access-control-allow-origin'), null)
  })
}

test('metadata can be read, and nothing else', async (t) => {
  const { origin } = await published(t)
  const head = await fetch(origin + METADATA, { method: 'HEAD' })
  assert.deepEqual([head.status, await head.text()], [200, ''])
  assert.ok(Number(head.headers.get('content-length')) > 0)
  const preflight = await fetch(origin + METADATA, { method: 'OPTIONS' })
  assert.equal(preflight.status, 204)
  assert.equal(preflight.headers.get('access-control-allow-methods'), 'GET, HEAD')
  const posted = await fetch(origin + METADATA, { method: 'POST', body: 'GET /orders HTTP/1.1' })
  assert.equal(posted.status, 405)
  assert.equal(posted.headers.get('allow'), 'GET, HEAD, OPTIONS')
  assert.equal(posted.headers.get('connection'), 'close')
  const { code } = (await posted.json()) as { readonly code: string }
  assert.equal(code, 'method_not_allowed')
})

test('a query changes nothing, and is not logged', async (t) => {
  const gateway = await published(t)
  assert.equal((await fetch(`${gateway.origin}${METADATA}?canary`)).status, 200)
  while (!gateway.logged().includes('"msg":"request"')) await new Promise(setImmediate)
  assert.ok(gateway.logged().includes(`"path":"${METADATA}","status":200,"result":"ok"`))
  assert.ok(!gateway.logged().includes('canary'))
  assert.match(gateway.metrics.render(), /behalf_requests_total\{route="",status="200"\} 1/)
})

test('of two resources with one path, Host tells which is meant', async (t) => {
  const given = (await configuration(t, { resource: 'https://a.example/orders' })) as {
    readonly apis: { readonly storefront: object }
  }
  const { origin } = await startGateway(t, {
    ...given,
    server: { listen: '127.0.0.1:0', publicOrigin: ['https://a.example', 'https://b.example'] },
    apis: {
      ...given.apis,
      other: { ...given.apis.storefront, resource: 'https://b.example/orders' },
    },
  })
  const { port } = new URL(origin)
  const resourceFor = async (host: string): Promise<unknown> => {
    const { request } = await import('node:http')
    return new Promise((resolve, reject) => {
      const asked = { port, host: '127.0.0.1', path: METADATA, headers: { host } }
      request(asked, (response) => {
        let text = ''
        response.on('data', (chunk) => (text += String(chunk)))
        response.on('end', () => {
          const isDocument = response.statusCode === 200
          resolve(isDocument ? (JSON.parse(text) as { resource: unknown }).resource : undefined)
        })
      })
        .on('error', reject)
        .end()
    })
  }
  assert.equal(await resourceFor('a.example'), 'https://a.example/orders')
  assert.equal(await resourceFor('b.example'), 'https://b.example/orders')
  assert.equal(await resourceFor('c.example'), undefined)
})

test('the scopes that are published are those that are given, and those of the routes otherwise', async (t) => {
  const scopes = async (api: object): Promise<unknown> => {
    const { apis, routes } = readConfig(await configuration(t, { resource: RESOURCE, ...api }))
    const metadata = metadataOf(apis[0]!, routes) as { readonly scopes_supported?: unknown }
    return metadata.scopes_supported
  }
  assert.deepEqual(await scopes({}), ['read:orders'])
  assert.deepEqual(await scopes({ scopesSupported: ['a'] }), ['a'])
  assert.equal(await scopes({ scopesSupported: [] }), undefined)
})

test('the middleware publishes at the root of its application, and is silent below a path', async (t) => {
  const config = readConfig(await configuration(t, { resource: RESOURCE }))
  const log = createLog({ destination: { write: () => undefined } })
  const statusAt = async (path: string): Promise<number> => {
    const app = express()
    const gateway = embed(config, { log })
    t.after(() => gateway.close())
    app.use(path, gateway)
    const response = await fetch((await listen(t, app)) + METADATA)
    await response.body?.cancel()
    return response.status
  }
  assert.equal(await statusAt('/'), 200)
  assert.equal(await statusAt('/api'), 404)
})

const ALGORITHMS = ['ES256', 'PS256']
const DPOP = { mechanism: 'dpop', algorithms: ALGORITHMS }

for (const [what, proofOfPossession, members, schemes] of [
  [
    'proofs of everybody',
    DPOP,
    { dpop_signing_alg_values_supported: ALGORITHMS, dpop_bound_access_tokens_required: true },
    ['DPoP algs="ES256 PS256", '],
  ],
  [
    'proofs of who likes',
    { ...DPOP, required: false },
    { dpop_signing_alg_values_supported: ALGORITHMS, dpop_bound_access_tokens_required: false },
    ['Bearer ', 'DPoP algs="ES256 PS256", '],
  ],
  [
    'proofs of all but one client',
    { ...DPOP, requiredFor: 'public_clients', confidentialClients: ['backend'] },
    { dpop_signing_alg_values_supported: ALGORITHMS, dpop_bound_access_tokens_required: false },
    ['Bearer ', 'DPoP algs="ES256 PS256", '],
  ],
] as const) {
  test(`an API that takes ${what} says so in its metadata and its challenges`, async (t) => {
    const { origin } = await published(t, { resource: RESOURCE, proofOfPossession })
    const metadata = (await (await fetch(origin + METADATA)).json()) as Record<string, unknown>
    for (const [name, value] of Object.entries(members)) assert.deepEqual(metadata[name], value)
    const refused = await fetch(`${origin}/orders`)
    assert.equal(refused.status, 401)
    assert.equal(
      refused.headers.get('www-authenticate'),
      schemes.map((scheme) => `${scheme}resource_metadata="${ORIGIN}${METADATA}"`).join(', '),
    )
  })
}

test('an API that binds tokens to certificates says so in its metadata', async (t) => {
  const given = await configuration(t, { resource: RESOURCE })
  const { apis, routes } = readConfig(given)
  const possession = { mechanism: 'mtls', required: true, exempt: new Set<string>() } as const
  const metadata = metadataOf({ ...apis[0]!, proofOfPossession: possession }, routes)
  assert.ok('tls_client_certificate_bound_access_tokens' in metadata)
  const plain = metadataOf({ ...apis[0]!, proofOfPossession: undefined }, routes)
  assert.ok(!('tls_client_certificate_bound_access_tokens' in plain))
})

test('of several APIs each is told, until it is known for which of them the token is', async (t) => {
  const [issuer, upstream] = await Promise.all([startIssuer(t), startUpstream(t)])
  const whole = oneRoute({ issuer: issuer.url, upstream: upstream.origin }) as {
    readonly apis: { readonly storefront: object }
    readonly routes: readonly object[]
  }
  const { storefront } = whole.apis
  const at = (name: string): object => ({
    audience: `https://${name}.example`,
    resource: `${ORIGIN}/${name}`,
  })
  const { origin } = await startGateway(t, {
    ...whole,
    server: { listen: '127.0.0.1:0', publicOrigin: ORIGIN },
    apis: {
      storefront: { ...storefront, ...at('storefront') },
      backoffice: { ...storefront, ...at('backoffice') },
    },
    routes: [{ ...whole.routes[0], authenticate: { apis: ['storefront', 'backoffice'] } }],
  })
  const challenge = async (token?: string): Promise<string | null> => {
    const init = token === undefined ? {} : bearer(token)
    return (await fetch(`${origin}/orders`, init)).headers.get('www-authenticate')
  }
  const metadata = (name: string): string =>
    `resource_metadata="${ORIGIN}/.well-known/oauth-protected-resource/${name}"`
  const both = `Bearer ${metadata('storefront')}, Bearer ${metadata('backoffice')}`
  assert.equal(await challenge(), both)
  const known = await challenge(await issuer.token({ scope: 'openid' }))
  assert.match(known!, /^Bearer error="insufficient_scope"/)
  assert.ok(known!.endsWith(`, ${metadata('storefront')}`))
  assert.ok(!known!.includes('backoffice'))
})
