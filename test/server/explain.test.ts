import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Explanation, Step } from '../../src/server/explain/report.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { oneRoute, startGateway, startUpstream, type Gateway, type Upstream } from '../system.ts'

const ADMIN = 'the-admin-token-of-this-test'
const SECRET = 'a-secret-of-the-storefront'

interface Question {
  readonly method?: string
  readonly target?: string
  readonly host?: string
  readonly token?: string
}

interface Setting {
  readonly gateway: Gateway
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  explain(question?: Question): Promise<Explanation>
  /** What the gateway answers to the same request. */
  send(question?: Question): Promise<Response>
}

interface Given {
  readonly profile?: string
  readonly api?: object
  readonly authorize?: object
  readonly exchange?: object
  readonly proxy?: object
}

async function setting(t: TestContext, given: Given = {}): Promise<Setting> {
  const { authorize, exchange, ...others } = given
  const [issuer, upstream] = await Promise.all([startIssuer(t), startUpstream(t)])
  const whole = oneRoute({ issuer: issuer.url, upstream: upstream.origin, ...others })
  const { routes } = whole as { readonly routes: readonly object[] }
  const gateway = await startGateway(t, {
    ...whole,
    admin: { listen: '127.0.0.1:0', token: ADMIN },
    routes: [{ ...routes[0], ...(authorize && { authorize }), ...(exchange && { exchange }) }],
  })
  const explain = async (question: Question = {}): Promise<Explanation> => {
    const response = await post(gateway, { method: 'GET', target: '/orders', ...question })
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('cache-control'), 'no-store')
    return (await response.json()) as Explanation
  }
  const send = async ({ method = 'GET', target = '/orders', token }: Question = {}) =>
    fetch(gateway.origin + target, {
      method,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    })
  return { gateway, issuer, upstream, explain, send }
}

async function post({ adminOrigin }: Gateway, body: unknown, token = ADMIN): Promise<Response> {
  return fetch(`${adminOrigin}/explain`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

function verdicts({ steps }: Explanation): string {
  return steps.map(({ step, verdict }) => `${step}: ${verdict}`).join(', ')
}

function stepOf({ steps }: Explanation, name: Step['step']): Step {
  return steps.find(({ step }) => step === name)!
}

function factsOf(step: Step): Readonly<Record<string, string>> {
  return Object.fromEntries(step.facts.map(({ name, value }) => [name, value]))
}

test('a request that would pass is walked to its upstream, and neither that nor the token endpoint is asked', async (t) => {
  const { explain, issuer, upstream } = await setting(t)
  const token = await issuer.token()
  const explanation = await explain({ target: '/orders/1?a=b', token })
  assert.equal(explanation.ok, true)
  assert.equal(
    verdicts(explanation),
    'route: passes, authenticate: passes, authorize: passes, exchange: passes, proxy: passes',
  )
  const { token: fingerprint } = explanation.request
  assert.match(fingerprint!, /^[0-9a-f]{8}$/)
  assert.deepEqual(stepOf(explanation, 'authorize').conditions, [
    { option: 'mayAct', needs: 'check', holds: true },
    { option: 'scopes', needs: ['read:orders'], found: ['read:orders'], holds: true },
  ])
  const exchange = stepOf(explanation, 'exchange')
  assert.equal(factsOf(exchange)['asks'], `POST ${issuer.url}token`)
  assert.deepEqual(exchange.form, [
    { name: 'grant_type', value: 'urn:ietf:params:oauth:grant-type:token-exchange' },
    { name: 'subject_token', value: `[token ${fingerprint}]` },
    { name: 'subject_token_type', value: 'urn:ietf:params:oauth:token-type:access_token' },
    { name: 'requested_token_type', value: 'urn:ietf:params:oauth:token-type:access_token' },
    { name: 'audience', value: 'https://orders.internal' },
    { name: 'scope', value: 'orders:read' },
  ])
  const { upstream: address } = factsOf(stepOf(explanation, 'proxy'))
  assert.equal(address, `${upstream.origin}/orders/1?a=b`)
  assert.deepEqual([issuer.exchanges.length, upstream.received.length], [0, 0])
})

test('what would be sent is what is sent', async (t) => {
  const exchange = {
    audience: 'https://orders.internal',
    scopes: ['orders:read'],
    parameters: { audience: { rename: 'aud' }, organization: 'org_1', requested_token_type: null },
  }
  const { explain, issuer, send } = await setting(t, { exchange })
  const token = await issuer.token()
  const explained = stepOf(await explain({ token }), 'exchange').form!
  // The answer is for another audience, since this issuer knows the field by its own name.
  assert.equal((await send({ token })).status, 502)
  const [sent] = issuer.exchanges
  assert.deepEqual(
    explained.map(({ name }) => name),
    // Whoever the client is stands in a header.
    [...sent!.keys()].sort((one, other) => order(explained, one) - order(explained, other)),
  )
  for (const { name, value } of explained) {
    if (!value.startsWith('[')) assert.equal(sent!.get(name), value)
  }
  const withheld = explained.filter(({ value }) => value === '[withheld]')
  assert.deepEqual(
    withheld.map(({ name }) => name),
    ['aud', 'organization'],
  )
})

function order(fields: readonly { readonly name: string }[], name: string): number {
  return fields.findIndex((field) => field.name === name)
}

interface Case {
  readonly what: string
  readonly question?: Question
  /** Of the token; false: none is sent. */
  readonly claims?: object | false
  readonly step: Step['step']
  readonly code: string
  readonly remedy: RegExp
}

const CASES: readonly Case[] = [
  {
    what: 'a target that is read in two ways',
    question: { target: '/orders/%2e%2e/admin' },
    step: 'route',
    code: 'invalid_request_target',
    remedy: /one spelling/,
  },
  {
    what: 'a path without a route',
    question: { target: '/oders' },
    step: 'route',
    code: 'route_not_found',
    remedy: /did you mean `\/orders`\?/,
  },
  {
    what: 'no token',
    claims: false,
    step: 'authenticate',
    code: 'missing_token',
    remedy: /Authorization: Bearer/,
  },
  {
    what: 'a second token in the query',
    question: { target: '/orders?access_token=x' },
    step: 'authenticate',
    code: 'invalid_request',
    remedy: /exactly one access token/,
  },
  {
    what: 'a token for another audience',
    claims: { aud: 'https://another.example' },
    step: 'authenticate',
    code: 'invalid_token',
    remedy: /with that audience/,
  },
  {
    what: 'a token that has expired',
    claims: { exp: 1_000_000_000 },
    step: 'authenticate',
    code: 'invalid_token',
    remedy: /get a new token$/,
  },
  {
    what: 'a token without the scope',
    claims: { scope: 'openid' },
    step: 'authorize',
    code: 'insufficient_scope',
    remedy: /holds read:orders too, or change `authorize\.scopes` of route `orders`/,
  },
]

for (const { what, question, claims, step, code, remedy } of CASES) {
  test(`${what}: refused at ${step} as the gateway refuses it, and what to change`, async (t) => {
    const { explain, issuer, send } = await setting(t)
    const token = claims === false ? {} : { token: await issuer.token({ ...claims }) }
    const asked = { ...question, ...token }
    const explanation = await explain(asked)
    assert.equal(explanation.ok, false)
    const refused = stepOf(explanation, step)
    assert.equal(refused.refusal?.code, code)
    assert.match(refused.refusal.remedy, remedy)
    const names = explanation.steps.map((one) => one.step)
    const at = names.indexOf(step)
    assert.deepEqual(
      explanation.steps.map(({ verdict }) => verdict),
      names.map((_, index) => (index < at ? 'passes' : index === at ? 'refused' : 'not reached')),
    )
    if (what === 'a target that is read in two ways') return
    const problem = (await (await send(asked)).json()) as { code: string; detail: string }
    assert.deepEqual([problem.code, problem.detail], [code, refused.refusal.detail])
  })
}

test('a token that is refused is shown beside what the route wants, as far as it can be read', async (t) => {
  const { explain, issuer } = await setting(t)
  const wrong = stepOf(
    await explain({ token: await issuer.token({ aud: ['a', 'b'] }) }),
    'authenticate',
  )
  const wanted = wrong.facts.filter((fact) => fact.wanted !== undefined)
  assert.deepEqual(wanted, [{ name: 'aud', value: 'a b', wanted: 'https://storefront.example' }])
  const opaque = stepOf(await explain({ token: 'of-another-kind' }), 'authenticate')
  assert.deepEqual(opaque.facts, [{ name: 'form', value: 'opaque', wanted: 'signed' }])
})

test('each condition is told with what decided it, also those after the one that refuses', async (t) => {
  const authorize = { clients: ['spa'], scopes: ['read:orders', 'write:orders'], maxAge: '5m' }
  const { explain, issuer } = await setting(t, { authorize })
  const auth_time = Math.floor(Date.now() / 1_000) - 3_600
  const token = await issuer.token({ client_id: 'spa', auth_time })
  const { conditions, refusal } = stepOf(await explain({ token }), 'authorize')
  assert.deepEqual(
    conditions?.map(({ option, found, holds }) => [option, found, holds]),
    [
      ['clients', 'spa', true],
      ['mayAct', undefined, true],
      ['scopes', ['read:orders'], false],
      ['maxAge', auth_time, false],
    ],
  )
  assert.match(refusal!.remedy, /holds write:orders too/)
})

test('the key’s parts tell why one token finds what another left, and why not', async (t) => {
  const exchange = {
    audience: 'https://orders.internal',
    scopes: ['orders:read'],
    key: 'context',
    ignoreClaims: ['nonce'],
  }
  const { explain, issuer } = await setting(t, { exchange })
  const keyOf = async (claims: object) => {
    const step = stepOf(await explain({ token: await issuer.token({ ...claims }) }), 'exchange')
    return { name: factsOf(step)['key'], parts: step.key! }
  }
  const one = await keyOf({ jti: '1', nonce: 'a' })
  const refreshed = await keyOf({ jti: '2', nonce: 'b' })
  const other = await keyOf({ jti: '3', sid: 's' })
  assert.deepEqual(one, refreshed)
  assert.notEqual(one.name, other.name)
  const differing = one.parts.filter(({ value }, index) => value !== other.parts[index]?.value)
  assert.deepEqual(
    differing.map(({ name }) => name),
    ['subject', 'context'],
  )
})

test('where a request would go is where it goes, rewritten', async (t) => {
  const proxy = { strip: '/orders', prefix: '/v2' }
  const { explain, issuer, send, upstream } = await setting(t, { proxy })
  const asked = { target: '/orders/1?a=b', token: await issuer.token() }
  const { upstream: address } = factsOf(stepOf(await explain(asked), 'proxy'))
  assert.equal((await send(asked)).status, 200)
  assert.equal(address, upstream.origin + upstream.received[0]!.url)
  assert.equal(upstream.received[0]!.url, '/v2/1?a=b')
})

test('nothing is asked where nothing is exchanged', async (t) => {
  const none = await setting(t, { exchange: { grant: 'none' } })
  const step = stepOf(await none.explain({ token: await none.issuer.token() }), 'exchange')
  assert.equal(step.verdict, 'passes')
  assert.equal(step.form, undefined)
  const passed = await setting(t, {
    exchange: {
      grant: 'passthrough',
      because: 'a test',
      expectAudience: 'https://another.example',
    },
  })
  const refused = stepOf(await passed.explain({ token: await passed.issuer.token() }), 'exchange')
  assert.equal(refused.refusal?.code, 'not_permitted')
})

test('a refresh token that is to be redeemed is what its caller brings, and no part of an explanation', async (t) => {
  const exchange = {
    grant: 'refresh-token',
    audience: 'https://orders.internal',
    scopes: ['orders:read'],
    refreshTokenHeader: 'x-refresh-token',
    returnRefreshToken: true,
    client: { id: 'spa', secret: SECRET },
  }
  const { explain, issuer } = await setting(t, { profile: 'auth0', exchange })
  const explanation = await explain({ token: await issuer.token() })
  const { verdict, form, facts } = stepOf(explanation, 'exchange')
  assert.equal(verdict, 'passes')
  assert.ok(form!.some(({ name, value }) => name === 'refresh_token' && value.startsWith('[the ')))
  assert.ok(!facts.some(({ name }) => name === 'key'))
  assert.ok(!JSON.stringify(explanation).includes(SECRET))
})

test('an issuer that is gone is told from a token that is bad', async (t) => {
  const { explain, issuer } = await setting(t)
  const token = await issuer.token()
  await issuer.kill()
  const { refusal } = stepOf(await explain({ token }), 'authenticate')
  assert.ok(['keys_unavailable', undefined].includes(refusal?.code))
})

test('neither a token nor a secret is told or logged, whatever is asked', async (t) => {
  const { explain, gateway, issuer } = await setting(t, {
    exchange: {
      audience: 'https://orders.internal',
      scopes: ['orders:read'],
      parameters: { canary: SECRET },
    },
  })
  const token = await issuer.token({ note: SECRET })
  const [, , signature = ''] = token.split('.')
  const told = JSON.stringify([
    await explain({ token }),
    await explain({ token, target: `/orders?access_token=${token}` }),
    await explain({ token: `${token}x` }),
    await explain({ token, target: `/${SECRET}` }),
  ])
  for (const secret of [signature, SECRET, ADMIN]) {
    assert.ok(!told.includes(secret))
    assert.ok(!gateway.logged().includes(secret))
  }
})

test('who has no admin token is told nothing', async (t) => {
  const { gateway } = await setting(t)
  const response = await post(gateway, { method: 'GET', target: '/orders' }, 'another')
  assert.equal(response.status, 401)
  assert.ok(!(await response.text()).includes('steps'))
})

test('without an admin token there is no such address', async (t) => {
  const [issuer, upstream] = await Promise.all([startIssuer(t), startUpstream(t)])
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  assert.equal((await post(gateway, { method: 'GET', target: '/orders' })).status, 404)
})

for (const body of [
  '{}',
  '[]',
  'not JSON',
  '{"method":"GET"}',
  '{"method":"GET","target":7}',
  '{"method":"GET","target":"/orders","tokens":"x"}',
]) {
  test(`${body} is no question`, async (t) => {
    const { gateway } = await setting(t)
    const response = await post(gateway, body)
    assert.equal(response.status, 400)
    const { code, detail } = (await response.json()) as { code: string; detail: string }
    assert.equal(code, 'invalid_request')
    assert.match(detail, /method and target/)
  })
}
