import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  allowInsecureRequests,
  ClientSecretBasic,
  Configuration,
  genericGrantRequest,
  ResponseBodyError,
} from 'openid-client'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { claimsOf, oneRoute, startGateway, startUpstream, type Gateway } from '../system.ts'

const CLIENT = { id: 'storefront', secret: 'a-secret-of-the-storefront' }
const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

interface Setting {
  readonly issuer: TestIssuer
  readonly gateway: Gateway
  /** Of the token endpoint. */
  readonly url: string
  readonly token: string
}

async function start(t: TestContext, endpoint: object = {}): Promise<Setting> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const { routes, ...others } = oneRoute({ issuer: issuer.url, upstream: upstream.origin }) as {
    readonly routes: readonly object[]
  }
  const invoices = { audience: 'https://invoices.internal', scopes: ['invoices:read'] }
  const gateway = await startGateway(t, {
    ...others,
    routes: [
      routes[0],
      { ...routes[0], name: 'invoices', match: { path: '/invoices' }, exchange: invoices },
      { ...routes[0], name: 'unlisted', match: { path: '/unlisted' }, exchange: { audience: 'u' } },
    ],
    endpoints: { token: { listen: '127.0.0.1:0', routes: ['orders', 'invoices'], ...endpoint } },
  })
  const token = await issuer.token()
  return { issuer, gateway, url: `${gateway.tokenOrigin}/token`, token }
}

type Form = Readonly<Record<string, string | readonly string[] | undefined>>

async function post(
  { url, token }: Setting,
  form: Form = {},
  headers: Readonly<Record<string, string>> = {},
): Promise<{
  readonly status: number
  readonly body: Record<string, unknown>
  readonly headers: Headers
}> {
  const fields: Form = {
    grant_type: GRANT,
    subject_token: token,
    subject_token_type: ACCESS_TOKEN,
    audience: 'https://orders.internal',
    client_id: CLIENT.id,
    client_secret: CLIENT.secret,
    ...form,
  }
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    for (const one of [value ?? []].flat()) body.append(name, one)
  }
  const response = await fetch(url, { method: 'POST', body, headers })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
  }
}

test('a service gets the issued token of the route that is for its audience', async (t) => {
  const setting = await start(t)
  const { status, body, headers } = await post(setting)
  assert.equal(status, 200)
  assert.equal(headers.get('cache-control'), 'no-store')
  const { access_token: issued, expires_in: expiresIn, ...others } = body
  assert.deepEqual(others, {
    issued_token_type: ACCESS_TOKEN,
    token_type: 'Bearer',
    scope: 'orders:read',
  })
  assert.ok(Number(expiresIn) > 3_500 && Number(expiresIn) <= 3_600)
  assert.equal(claimsOf(String(issued))['aud'], 'https://orders.internal')
  assert.match(setting.gateway.logged(), /"route":"orders"/)
  assert.equal(setting.gateway.logged().includes(String(issued).split('.')[2]!), false)
})

test('openid-client is served as by any token endpoint', async (t) => {
  const { url, token, issuer } = await start(t)
  const configuration = new Configuration(
    { issuer: url, token_endpoint: url },
    CLIENT.id,
    undefined,
    ClientSecretBasic(CLIENT.secret),
  )
  allowInsecureRequests(configuration)
  const parameters = { subject_token_type: ACCESS_TOKEN, audience: 'https://invoices.internal' }
  const answer = await genericGrantRequest(configuration, GRANT, {
    ...parameters,
    subject_token: token,
  })
  assert.equal(answer.token_type, 'bearer')
  assert.equal(claimsOf(answer.access_token)['aud'], 'https://invoices.internal')
  await assert.rejects(
    genericGrantRequest(configuration, GRANT, { ...parameters, subject_token: 'a.b.c' }),
    (error) => error instanceof ResponseBodyError && error.error === 'invalid_request',
  )
  assert.equal(issuer.exchanges.length, 1)
})

test('what the endpoint issued the proxy serves from the cache, and the other way', async (t) => {
  const setting = await start(t)
  const headers = { authorization: `Bearer ${setting.token}` }
  assert.equal((await fetch(`${setting.gateway.origin}/orders`, { headers })).status, 200)
  assert.equal((await post(setting)).status, 200)
  assert.equal((await post(setting)).status, 200)
  assert.equal(setting.issuer.exchanges.length, 1)
})

for (const [what, form, error] of [
  ['no grant', { grant_type: undefined }, 'invalid_request'],
  ['another grant', { grant_type: 'password' }, 'unsupported_grant_type'],
  ['no subject token', { subject_token: undefined }, 'invalid_request'],
  ['two subject tokens', { subject_token: ['a', 'b'] }, 'invalid_request'],
  ['a subject token that is no good', { subject_token: 'a.b.c' }, 'invalid_request'],
  ['an ID token', { subject_token_type: ACCESS_TOKEN.replace('access', 'id') }, 'invalid_request'],
  ['an actor token', { actor_token: 'x', actor_token_type: ACCESS_TOKEN }, 'invalid_request'],
  ['an audience of no route', { audience: 'https://nobody' }, 'invalid_target'],
  ['the audience of a route that is not listed', { audience: 'u' }, 'invalid_target'],
  ['a route that is not listed', { audience: undefined, route: 'unlisted' }, 'invalid_target'],
  ['a route and the audience of another', { route: 'invoices' }, 'invalid_target'],
  ['no target where there are several', { audience: undefined }, 'invalid_target'],
  ['a scope beyond the route', { scope: 'orders:read orders:write' }, 'invalid_scope'],
  ['a wrong secret', { client_secret: 'wrong' }, 'invalid_client'],
  ['no secret', { client_secret: undefined }, 'invalid_client'],
  ['an empty secret', { client_secret: '' }, 'invalid_client'],
  ['another client', { client_id: 'somebody' }, 'invalid_client'],
  ['no client', { client_id: undefined, client_secret: undefined }, 'invalid_client'],
] as const) {
  test(`${what} is ${error}, and nothing is asked of the issuer`, async (t) => {
    const setting = await start(t)
    const { status, body, headers } = await post(setting, form)
    assert.equal(body['error'], error)
    assert.equal(status, error === 'invalid_client' ? 401 : 400)
    assert.equal(headers.get('content-type'), 'application/json')
    assert.equal(headers.get('www-authenticate'), status === 401 ? 'Basic realm="behalf"' : null)
    assert.equal(setting.issuer.exchanges.length, 0)
  })
}

for (const form of [
  { audience: undefined, route: 'orders' },
  { route: 'orders' },
  { scope: 'orders:read' },
]) {
  test(`twin: ${Object.keys(form).join(' and ')} that fit are served`, async (t) => {
    assert.equal((await post(await start(t), form)).status, 200)
  })
}

test('what the token lacks is told by its code', async (t) => {
  const setting = await start(t)
  const weak = await setting.issuer.token({ scope: 'other' })
  const { status, body } = await post(setting, { subject_token: weak })
  assert.deepEqual(
    [status, body['error'], body['code']],
    [400, 'invalid_request', 'insufficient_scope'],
  )
})

test('an issuer that is down is told as such, with when to come back', async (t) => {
  const setting = await start(t)
  setting.issuer.answer = (_form, response) => void response.writeHead(503).end()
  const { status, body, headers } = await post(setting)
  assert.deepEqual([status, body['error']], [503, 'temporarily_unavailable'])
  assert.match(headers.get('retry-after') ?? '', /^\d+$/)
})

test('without clients anybody on loopback may ask', async (t) => {
  const setting = await start(t, { clients: 'none' })
  const form = { client_id: undefined, client_secret: undefined }
  assert.equal((await post(setting, form)).status, 200)
})

test('a form that is too large, or none, is refused in the same form', async (t) => {
  const setting = await start(t)
  const large = await post(setting, { subject_token: 'x'.repeat(70_000) })
  assert.deepEqual([large.status, large.body['code']], [413, 'content_too_large'])
  const json = await post(setting, {}, { 'content-type': 'application/json' })
  assert.deepEqual([json.status, json.body['error']], [400, 'invalid_request'])
})

test('a client gets no token of a route that is for tokens of another', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const { apis, routes, ...others } = oneRoute({
    issuer: issuer.url,
    upstream: upstream.origin,
  }) as {
    readonly apis: { readonly storefront: object }
    readonly routes: readonly object[]
  }
  const backoffice = {
    ...apis.storefront,
    audience: 'https://backoffice.example',
    client: { id: 'backoffice', secret: 'a-secret-of-the-backoffice' },
  }
  const gateway = await startGateway(t, {
    ...others,
    apis: { ...apis, backoffice },
    routes: [
      routes[0],
      { ...routes[0], name: 'b', match: { path: '/b' }, authenticate: { api: 'backoffice' } },
    ],
    endpoints: { token: { listen: '127.0.0.1:0', routes: ['orders', 'b'] } },
  })
  const url = `${gateway.tokenOrigin}/token`
  const token = await issuer.token({ aud: 'https://backoffice.example' })
  const setting = { issuer, gateway, url, token }
  const refused = await post(setting, { route: 'b' })
  assert.deepEqual([refused.status, refused.body['error']], [400, 'unauthorized_client'])
  assert.equal(issuer.exchanges.length, 0)
  const own = { client_id: 'backoffice', client_secret: 'a-secret-of-the-backoffice' }
  assert.equal((await post(setting, { route: 'b', ...own })).status, 200)
})
