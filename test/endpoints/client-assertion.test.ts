import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  allowInsecureRequests,
  Configuration,
  genericGrantRequest,
  PrivateKeyJwt,
  WWWAuthenticateChallengeError,
} from 'openid-client'
import {
  claimsOf as claimsFor,
  JWT_BEARER,
  type Signer,
  signer,
} from '../authenticate/assertions.ts'
import { holder, ORIGIN, signedBy } from '../authenticate/proofs.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { claimsOf, oneRoute, startGateway, startUpstream, type Gateway } from '../system.ts'

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const LISTENING = { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '1s' } }
const SECRET = 'a-secret-of-the-storefront'

const gatewayKey = signer('RS256')
const callerKey = signer('ES256')
const backoffice = signer('ES256', 'backoffice')

const SIGNING = { id: 'storefront', privateKey: gatewayKey.pem.privateKey, keyId: 'one' }

interface Setting {
  readonly issuer: TestIssuer
  readonly gateway: Gateway
  /** Of the token endpoint. */
  readonly url: string
  readonly token: string
}

interface Changes {
  readonly client?: object
  readonly api?: object
  readonly endpoint?: object
}

/** Unless it is changed: the client has a private key, which its callers have, too. Beside it is one that has a secret. */
async function start(t: TestContext, { client, api, endpoint }: Changes = {}): Promise<Setting> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const { apis, routes, ...others } = oneRoute({
    ...{ issuer: issuer.url, upstream: upstream.origin },
    ...{ client: client ?? SIGNING, api: api ?? {} },
  }) as { readonly apis: { readonly storefront: object }; readonly routes: readonly object[] }
  const back = {
    ...apis.storefront,
    audience: 'https://backoffice.example',
    client: { id: 'backoffice', secret: 'a-secret-of-the-backoffice' },
  }
  const invoices = { name: 'invoices', match: { path: '/invoices' } }
  const gateway = await startGateway(t, {
    ...others,
    server: { ...LISTENING, publicOrigin: ORIGIN },
    apis: { ...apis, backoffice: back },
    routes: [routes[0], { ...routes[0], ...invoices, authenticate: { api: 'backoffice' } }],
    endpoints: {
      token: { listen: '127.0.0.1:0', routes: ['orders', 'invoices'], ...endpoint },
    },
  })
  const url = `${gateway.tokenOrigin}/token`
  return { issuer, gateway, url, token: await issuer.token() }
}

type Form = Readonly<Record<string, string | readonly string[] | undefined>>

interface Answered {
  readonly status: number
  readonly error: unknown
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: Headers
}

/** With an assertion of its own that is right, unless something else is given. */
async function post(
  { url, token }: Setting,
  form: Form = {},
  headers: Readonly<Record<string, string>> = {},
): Promise<Answered> {
  const fields: Form = {
    grant_type: GRANT,
    subject_token: token,
    subject_token_type: ACCESS_TOKEN,
    route: 'orders',
    client_assertion_type: JWT_BEARER,
    ...('client_assertion' in form ? {} : { client_assertion: await gatewayKey.assertion() }),
    ...form,
  }
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    for (const one of [value ?? []].flat()) body.append(name, one)
  }
  const response = await fetch(url, { method: 'POST', body, headers })
  const answer = (await response.json()) as Record<string, unknown>
  return {
    status: response.status,
    error: answer['error'],
    body: answer,
    headers: response.headers,
  }
}

for (const [whose, key, endpoint] of [
  ["the client's own key", gatewayKey, {}],
  [
    'a key that only the caller has',
    callerKey,
    { callers: { storefront: [{ publicKey: callerKey.pem.publicKey, keyId: 'two' }] } },
  ],
] as const) {
  test(`openid-client is served by private_key_jwt with ${whose}`, async (t) => {
    const { url, token, issuer } = await start(t, { endpoint })
    const isRsa = key === gatewayKey
    const imported = await crypto.subtle.importKey(
      'pkcs8',
      key.privateKey.export({ type: 'pkcs8', format: 'der' }),
      isRsa
        ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
        : { name: 'ECDSA', namedCurve: 'P-256' },
      false,
      ['sign'],
    )
    const proof = PrivateKeyJwt({ key: imported, kid: isRsa ? 'one' : 'two' })
    const server = { issuer: ORIGIN, token_endpoint: url }
    const configuration = new Configuration(server, 'storefront', undefined, proof)
    allowInsecureRequests(configuration)
    const parameters = { subject_token_type: ACCESS_TOKEN, route: 'orders', subject_token: token }
    for (let times = 0; times < 3; times++) {
      const { access_token: issued } = await genericGrantRequest(configuration, GRANT, parameters)
      assert.equal(claimsOf(issued)['aud'], 'https://orders.internal')
    }
    assert.equal(issuer.exchanges.length, 1)
    const stranger = new Configuration(server, 'somebody', undefined, proof)
    allowInsecureRequests(stranger)
    await assert.rejects(
      genericGrantRequest(stranger, GRANT, parameters),
      (error) => error instanceof WWWAuthenticateChallengeError && error.status === 401,
    )
  })
}

const HOUR = 3_600
const soon = (): number => Math.floor(Date.now() / 1_000) + HOUR

for (const [what, assertion, reason] of [
  ['of another key', () => callerKey.assertion(), /header names no key|signature is of no key/],
  ['of another client, with its own key', () => backoffice.assertion(), /no client .* signs here/],
  [
    'of a client that has a secret, and made with it',
    () => signedBy(Buffer.from(SECRET), { alg: 'HS256' }, claimsFor('backoffice')),
    /no client .* signs here/,
  ],
  [
    'for somebody else',
    () => gatewayKey.assertion({ claims: { aud: 'https://b' } }),
    /aud.* is not this token endpoint/,
  ],
  ['for an hour', () => gatewayKey.assertion({ claims: { exp: soon() } }), /too far ahead/],
  ['by another kid', () => gatewayKey.assertion({ header: { kid: 'two' } }), /names no key/],
  ['that is none', () => Promise.resolve('a.b.c'), /not one signed JWT/],
] as const) {
  test(`an assertion ${what} is invalid_client, and only the log says why`, async (t) => {
    const setting = await start(t)
    const presented = await assertion()
    const { status, body, headers } = await post(setting, { client_assertion: presented })
    const { request_id: id, ...told } = body
    assert.deepEqual([status, told], [401, REFUSED])
    assert.equal(headers.get('www-authenticate'), 'Basic realm="behalf"')
    assert.equal(setting.issuer.exchanges.length, 0)
    const logged = setting.gateway.logged()
    const line = logged
      .split('\n')
      .find((one) => one.includes(`"${String(id)}"`) && one.includes('"error"'))
    assert.match(line ?? logged, reason)
    assert.equal(logged.includes(presented), false)
    assert.equal((await post(setting)).status, 200)
  })
}

const REFUSED = {
  error: 'invalid_client',
  error_description: 'the client is not known here',
  code: 'invalid_request',
}

test('an assertion is good once, and what its client signs next is good', async (t) => {
  const setting = await start(t)
  const form = { client_assertion: await gatewayKey.assertion() }
  assert.equal((await post(setting, form)).status, 200)
  const { status, body } = await post(setting, form)
  const { request_id: _, ...told } = body
  assert.deepEqual([status, told], [401, REFUSED])
  assert.match(setting.gateway.logged(), /the assertion was used before/)
  const again = await gatewayKey.assertion({ claims: { jti: 'a', aud: `${ORIGIN}/token` } })
  assert.equal((await post(setting, { client_assertion: again })).status, 200)
  const other = await gatewayKey.assertion({ claims: { jti: 'a' } })
  assert.equal((await post(setting, { client_assertion: other })).status, 401)
})

test('of twenty that come with one assertion at once, one is served', async (t) => {
  const setting = await start(t)
  const form = { client_assertion: await gatewayKey.assertion() }
  const answers = await Promise.all(Array.from({ length: 20 }, () => post(setting, form)))
  assert.equal(answers.filter(({ status }) => status === 200).length, 1)
  assert.equal(answers.filter(({ error }) => error === 'invalid_client').length, 19)
})

for (const [what, form, headers, error, twin] of [
  [
    'with a secret beside it',
    { client_id: 'storefront', client_secret: SECRET },
    {},
    'invalid_request',
    { client_id: 'storefront' },
  ],
  ['in a header, too', {}, { authorization: 'Basic YTpi' }, 'invalid_request', {}],
  ['beside a header of any kind', {}, { authorization: 'Bearer x' }, 'invalid_request', {}],
  [
    'without its type',
    { client_assertion_type: undefined },
    {},
    'invalid_request',
    { client_assertion_type: JWT_BEARER },
  ],
  ['that is missing', { client_assertion: undefined }, {}, 'invalid_request', {}],
  ['that is empty', { client_assertion: '' }, {}, 'invalid_request', {}],
  ['that comes twice', { client_assertion: ['a.b.c', 'a.b.c'] }, {}, 'invalid_request', {}],
  [
    'whose type comes twice',
    { client_assertion_type: [JWT_BEARER, JWT_BEARER] },
    {},
    'invalid_request',
    {},
  ],
  [
    'of SAML',
    { client_assertion_type: JWT_BEARER.replace('jwt', 'saml2') },
    {},
    'invalid_client',
    {},
  ],
  [
    'of a type that is longer',
    { client_assertion_type: `${JWT_BEARER} ` },
    {},
    'invalid_client',
    {},
  ],
  ['of another client_id', { client_id: 'backoffice' }, {}, 'invalid_client', {}],
] as const) {
  test(`an assertion ${what} is ${error}, and its twin is served`, async (t) => {
    const setting = await start(t)
    const refused = await post(setting, form, headers)
    assert.deepEqual(
      [refused.status, refused.error],
      [error === 'invalid_client' ? 401 : 400, error],
    )
    assert.equal(setting.issuer.exchanges.length, 0)
    assert.equal((await post(setting, twin)).status, 200)
  })
}

/** What a client sends that shows a secret. */
const secretOf = (id: string, secret: string): Form => ({
  ...{ client_id: id, client_secret: secret },
  ...{ client_assertion: undefined, client_assertion_type: undefined },
})

test('a client that signs has no secret, not even its key, and one that has one signs nothing', async (t) => {
  const setting = await start(t)
  for (const secret of [SECRET, gatewayKey.pem.privateKey, gatewayKey.pem.publicKey]) {
    const { status, error } = await post(setting, secretOf('storefront', secret))
    assert.deepEqual([status, error], [401, 'invalid_client'])
  }
  const token = await setting.issuer.token({ aud: 'https://backoffice.example' })
  const back = { ...setting, token }
  const own = secretOf('backoffice', 'a-secret-of-the-backoffice')
  assert.equal((await post(back, { ...own, route: 'invoices' })).status, 200)
})

test("where callers have keys of their own, neither the client's secret nor its key lets anybody in", async (t) => {
  const callers = { storefront: [{ publicKey: callerKey.pem.publicKey }] }
  const asked = async (client: object, form: Form): Promise<Answered> =>
    post(await start(t, { client, endpoint: { callers } }), form)
  const withSecret = { id: 'storefront', secret: SECRET }
  const own = await asked(SIGNING, { client_assertion: await gatewayKey.assertion() })
  const shown = await asked(withSecret, secretOf('storefront', SECRET))
  for (const { status, error } of [own, shown]) {
    assert.deepEqual([status, error], [401, 'invalid_client'])
  }
  for (const client of [SIGNING, withSecret]) {
    const served = await asked(client, { client_assertion: await callerKey.assertion() })
    assert.equal(served.status, 200)
  }
})

test('a client that signed gets no token of a route that is for tokens of another', async (t) => {
  const setting = await start(t)
  const token = await setting.issuer.token({ aud: 'https://backoffice.example' })
  const refused = await post({ ...setting, token }, { route: 'invoices' })
  assert.deepEqual([refused.status, refused.error], [400, 'unauthorized_client'])
  assert.equal(setting.issuer.exchanges.length, 0)
})

test('clients of one name at two APIs, each with its key, are two', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const { apis, routes, ...others } = oneRoute({
    ...{ issuer: issuer.url, upstream: upstream.origin, client: SIGNING },
  }) as { readonly apis: { readonly storefront: object }; readonly routes: readonly object[] }
  const client = { id: 'storefront', privateKey: callerKey.pem.privateKey }
  const audience = 'https://second.example'
  const gateway = await startGateway(t, {
    ...others,
    server: { ...LISTENING, publicOrigin: ORIGIN },
    apis: { ...apis, second: { ...apis.storefront, audience, client } },
    routes: [
      routes[0],
      { ...routes[0], name: 's', match: { path: '/s' }, authenticate: { api: 'second' } },
    ],
    endpoints: { token: { listen: '127.0.0.1:0', routes: ['orders', 's'] } },
  })
  const first = {
    issuer,
    gateway,
    url: `${gateway.tokenOrigin}/token`,
    token: await issuer.token(),
  }
  const second = { ...first, token: await issuer.token({ aud: audience }) }
  for (const [setting, route, key, status] of [
    [first, 'orders', gatewayKey, 200],
    [first, 'orders', callerKey, 400],
    [second, 's', callerKey, 200],
    [second, 's', gatewayKey, 400],
  ] as const) {
    const answer = await post(setting, { route, client_assertion: await key.assertion() })
    assert.equal(answer.status, status)
    if (status === 400) assert.equal(answer.error, 'unauthorized_client')
  }
})

test('a key that a reload takes away lets nobody in, and what was used before stays used', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const next = signer('ES256')
  const of = (...keys: readonly Signer[]): object => ({
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    server: { ...LISTENING, publicOrigin: ORIGIN },
    endpoints: {
      token: {
        ...{ listen: '127.0.0.1:0', routes: ['orders'] },
        callers: { storefront: keys.map(({ pem }) => ({ publicKey: pem.publicKey })) },
      },
    },
  })
  const gateway = await startGateway(t, of(callerKey))
  const url = `${gateway.tokenOrigin}/token`
  const setting = { issuer, gateway, url, token: await issuer.token() }
  const statusOf = async (client_assertion: string): Promise<number> =>
    (await post(setting, { client_assertion })).status
  const used = await callerKey.assertion()
  assert.equal(await statusOf(used), 200)
  assert.equal(await statusOf(await next.assertion()), 401)
  await gateway.reloadWith(of(callerKey, next))
  assert.equal(await statusOf(used), 401)
  assert.equal(await statusOf(await callerKey.assertion()), 200)
  await gateway.reloadWith(of(next))
  assert.equal(await statusOf(await callerKey.assertion()), 401)
  assert.equal(await statusOf(await next.assertion()), 200)
})

test('who is told to name a nonce may send the same form again with a proof that names it', async (t) => {
  const setting = await start(t, {
    api: { proofOfPossession: { mechanism: 'dpop', nonce: 'required' } },
  })
  const alice = await holder()
  const token = await setting.issuer.token({ cnf: { jkt: alice.jkt } })
  const bound = { ...setting, token }
  const form = { client_assertion: await gatewayKey.assertion() }
  const claims = { htm: 'POST', htu: `${ORIGIN}/token` }
  const first = await post(bound, form, { dpop: await alice.proof(token, { claims }) })
  assert.deepEqual([first.status, first.error], [400, 'use_dpop_nonce'])
  const nonce = first.headers.get('dpop-nonce')
  const proven = await alice.proof(token, { claims: { ...claims, nonce } })
  assert.equal((await post(bound, form, { dpop: proven })).status, 200)
  const another = await alice.proof(token, { claims: { ...claims, nonce } })
  const used = await post(bound, form, { dpop: another })
  assert.deepEqual([used.status, used.error], [401, 'invalid_client'])
})
