/** A hostile issuer: what it answers is used only where it is what was asked for, and nothing of it is told. */
import assert from 'node:assert/strict'
import type http from 'node:http'
import { test, type TestContext } from 'node:test'
import { exchangeKey } from '../../src/exchange/key.ts'
import { respond, startIssuer, type TestIssuer } from '../issuer.ts'
import { permit, unsignedJwt } from '../support.ts'
import { claimsOf, oneRoute, startGateway, startUpstream, type Upstream } from '../system.ts'
import { ask, request, type Answered } from './wire.ts'

interface World {
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  readonly get: (token: string) => Promise<Answered>
  readonly told: () => string
}

async function world(t: TestContext, setting: object = {}): Promise<World> {
  const issuer = await startIssuer(t)
  // Says nothing: what it was sent is looked at where it was received.
  const upstream = await startUpstream(t, (_received, response) => response.end('ok'))
  const configuration = oneRoute({ issuer: issuer.url, upstream: upstream.origin, ...setting })
  const gateway = await startGateway(t, configuration)
  return {
    issuer,
    upstream,
    get: (token) =>
      ask(t, gateway.origin, request('GET /orders', [`Authorization: Bearer ${token}`])),
    told: () => gateway.logged() + gateway.metrics.render(),
  }
}

const TYPE = 'urn:ietf:params:oauth:token-type:access_token'

function answering(access_token: string): TestIssuer['answer'] {
  return (_form, response) =>
    respond(response, { access_token, token_type: 'Bearer', issued_token_type: TYPE })
}

/** What is not what was asked for is remembered for five seconds: called first, and again to move the clock past them. */
function stopClock(t: TestContext): () => void {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  return () => t.mock.timers.tick(5_001)
}

const forged: readonly (readonly [what: string, token: string, status: number])[] = [
  ['an opaque token', 'opaque', 200],
  ['every character that a token may have', 'aZ09-._~+/==', 200],
  ['a token with a line end', 'opaque\r\nX-Admin: 1', 502],
  ['a token with a space', 'opa que', 502],
  ['a token with credentials of another scheme behind it', 'opaque, Basic eDp5', 502],
  ['a token with a tab', 'opa\tque', 502],
  ['a token with a NUL', 'opa\0que', 502],
  ['a token beyond ASCII', 'opäque', 502],
  ['a token beyond Latin-1', 'op€que', 502],
  ['a token with padding within', 'opa=que', 502],
]
for (const [what, token, status] of forged) {
  test(`an issuer that issues ${what}: ${status}, and asked anew once it was refused`, async (t) => {
    const passRefusal = stopClock(t)
    const { issuer, upstream, get, told } = await world(t)
    issuer.answer = answering(token)
    const subject = await issuer.token()
    const first = await get(subject)
    assert.equal(first.status, status)
    if (status === 200) {
      assert.equal(upstream.received[0]?.headers.authorization, `Bearer ${token}`)
      return
    }
    assert.equal(first.code, 'exchange_misconfigured')
    assert.equal(upstream.received.length, 0)
    assert.equal(told().includes(token), false)
    issuer.answer = issuer.issue
    passRefusal()
    assert.equal((await get(subject)).status, 200)
  })
}

for (const [mark, sub, status] of [
  ['', 'user|alice', 200],
  ['', 'user|mallory', 502],
  ['\ufeff', 'user|alice', 200],
  ['\ufeff', 'user|mallory', 502],
] as const) {
  const what = mark === '' ? 'without' : 'with'
  test(`a token of ${sub} ${what} a byte order mark before its claims: ${status}`, async (t) => {
    const { issuer, upstream, get } = await world(t)
    issuer.answer = (form, response) => {
      const claims = { iss: issuer.url, sub, aud: form.get('audience'), scope: form.get('scope') }
      const payload = Buffer.from(mark + JSON.stringify(claims)).toString('base64url')
      return answering(`eyJhbGciOiJSUzI1NiJ9.${payload}.AAAA`)(form, response)
    }
    assert.equal((await get(await issuer.token())).status, status)
    assert.equal(upstream.received.length, status === 200 ? 1 : 0)
  })
}

const claims: readonly (readonly [what: string, change: object, status: number])[] = [
  ['what was asked for', {}, 200],
  ['another audience beside', { aud: ['https://orders.internal', 'https://other'] }, 200],
  ['another audience', { aud: 'https://orders.internal/' }, 502],
  ['no audience', { aud: undefined }, 502],
  ['an audience that holds the asked one', { aud: ['https://orders.internal/x'] }, 502],
  ['another issuer', { iss: 'https://other.example/' }, 502],
  ['no subject', { sub: undefined }, 502],
  ['a subject that reads the same', { sub: ['user|alice'] }, 502],
  ['a scope more', { scope: 'orders:read orders:write' }, 502],
  ['a scope more, behind a tab', { scope: 'orders:read\torders:write' }, 502],
  ['a scope more, as a list beside', { scp: ['orders:read', 'orders:write'] }, 502],
  ['the same scope as a list beside', { scp: ['orders:read'] }, 200],
]
for (const [what, change, status] of claims) {
  test(`an issued token for ${what}: ${status}`, async (t) => {
    const { issuer, upstream, get } = await world(t)
    issuer.answer = async (form, response) => {
      const asked = { aud: form.get('audience') ?? '', scope: form.get('scope') ?? '' }
      const access_token = await issuer.sign({ sub: 'user|alice', ...asked, ...change })
      await issuer.issue(form, response, { access_token })
    }
    assert.equal((await get(await issuer.token())).status, status)
    assert.equal(upstream.received.length, status === 200 ? 1 : 0)
  })
}

for (const [what, twice, status] of [
  ['one subject', false, 200],
  ['two subjects, of which the last is ours', true, 502],
] as const) {
  test(`an issued token of ${what}: ${status}`, async (t) => {
    const { issuer, upstream, get } = await world(t)
    issuer.answer = (form, response) => {
      const claims = { sub: 'user|alice', aud: form.get('audience'), scope: form.get('scope') }
      const first = twice ? '"sub":"user|mallory",' : ''
      const text = `{${first}${JSON.stringify({ iss: issuer.url, ...claims }).slice(1)}`
      const payload = Buffer.from(text).toString('base64url')
      return answering(`eyJhbGciOiJSUzI1NiJ9.${payload}.AAAA`)(form, response)
    }
    assert.equal((await get(await issuer.token())).status, status)
    assert.equal(upstream.received.length, status === 200 ? 1 : 0)
  })
}

const CANARY = 'canary7f'
type Text = (form: URLSearchParams, usual: string) => string
const JSON_TYPE = { 'content-type': 'application/json' }
const bodies: readonly (readonly [
  what: string,
  status: number,
  headers: http.OutgoingHttpHeaders,
  text: Text,
  answered: number,
])[] = [
  ['its usual answer', 200, JSON_TYPE, (_form, usual) => usual, 200],
  ['a byte order mark first', 200, JSON_TYPE, (_form, usual) => `\ufeff${usual}`, 200],
  [
    'a __proto__',
    200,
    JSON_TYPE,
    (_form, usual) => `{"__proto__":{"scope":"x"},${usual.slice(1)}`,
    200,
  ],
  [
    'another type after the first',
    200,
    JSON_TYPE,
    (_form, usual) => `${usual.slice(0, -1)},"token_type":"N_A"}`,
    503,
  ],
  [
    'the same type twice, once with an escape',
    200,
    JSON_TYPE,
    (_form, usual) => `${usual.slice(0, -1)},"token\\u005ftype":"Bearer"}`,
    503,
  ],
  [
    'a refusal with two names',
    400,
    JSON_TYPE,
    () => `{"error":"invalid_grant","error":"${CANARY}"}`,
    502,
  ],
  ['a refusal with one name', 400, JSON_TYPE, () => '{"error":"access_denied"}', 403],
  [
    'a refusal with a token beside',
    400,
    JSON_TYPE,
    (_form, usual) => `{"error":"${CANARY}",${usual.slice(1)}`,
    403,
  ],
  [
    'a refusal named as a member of every object',
    400,
    JSON_TYPE,
    () => '{"error":"constructor"}',
    403,
  ],
  ['its answer as a 201', 201, JSON_TYPE, (_form, usual) => usual, 503],
  ['no content', 204, JSON_TYPE, () => '', 503],
  ['a page', 200, { 'content-type': 'text/html' }, () => `<html>${CANARY}`, 503],
  ['a page that claims to be JSON', 200, JSON_TYPE, () => `<html>${CANARY}`, 503],
  ['a token without quotes', 200, JSON_TYPE, () => `{"access_token": ${CANARY}}`, 503],
  ['nothing', 200, JSON_TYPE, () => '', 503],
  ['null', 200, JSON_TYPE, () => 'null', 503],
  [
    'a content coding',
    200,
    { ...JSON_TYPE, 'content-encoding': 'gzip' },
    () => '\x1f\x8b\x08',
    503,
  ],
  [
    'lists in lists, without end',
    200,
    JSON_TYPE,
    (_form, usual) => `{"a":${'['.repeat(200_000)}${']'.repeat(200_000)},${usual.slice(1)}`,
    503,
  ],
  ['more than a megabyte', 200, JSON_TYPE, (_form, usual) => usual + ' '.repeat(1_100_000), 503],
  ['less than a megabyte', 200, JSON_TYPE, (_form, usual) => usual + ' '.repeat(900_000), 200],
]
for (const [what, status, headers, text, answered] of bodies) {
  test(`an issuer that answers ${what}: ${answered}, and none of its words are told`, async (t) => {
    const { issuer, upstream, get, told } = await world(t)
    issuer.answer = async (form, response) => {
      const access_token = await issuer.sign({ sub: 'user|alice', aud: form.get('audience') ?? '' })
      const usual = { access_token, token_type: 'Bearer', issued_token_type: TYPE }
      response.writeHead(status, headers).end(text(form, JSON.stringify(usual)))
    }
    const answer = await get(await issuer.token())
    assert.equal(answer.status, answered)
    assert.equal(upstream.received.length, answered === 200 ? 1 : 0)
    assert.equal(`${answer.body}${told()}`.includes(CANARY), false)
    assert.equal(told().includes('internal_error'), false)
  })
}

for (const status of [302, 307, 308]) {
  test(`an issuer that redirects by ${status} sends no secret anywhere else`, async (t) => {
    const { issuer, upstream, get } = await world(t)
    issuer.answer = (_form, response) =>
      void response.writeHead(status, { location: `${upstream.origin}/stolen` }).end()
    const token = await issuer.token()
    assert.equal((await get(token)).code, 'exchange_unavailable')
    assert.equal(upstream.received.length, 0)
    issuer.answer = issuer.issue
    assert.equal((await get(token)).status, 200)
  })
}

test('an issuer that answers a byte at a time is given up at the deadline', async (t) => {
  const { issuer, get } = await world(t, { exchange: { timeout: '300ms' } })
  issuer.answer = (_form, response) => {
    response.writeHead(200, JSON_TYPE)
    const dripping = setInterval(() => response.write(' '), 20)
    response.on('close', () => clearInterval(dripping))
  }
  const token = await issuer.token()
  assert.equal((await get(token)).code, 'exchange_unavailable')
  issuer.answer = issuer.issue
  assert.equal((await get(token)).status, 200)
})

test('an issuer that mixes up the answers of two users gives neither the other’s token', async (t) => {
  const passRefusal = stopClock(t)
  const { issuer, upstream, get } = await world(t)
  const waiting: { form: URLSearchParams; response: http.ServerResponse }[] = []
  issuer.answer = async (form, response) => {
    waiting.push({ form, response })
    const [one, other] = waiting
    if (one === undefined || other === undefined) return
    await issuer.issue(one.form, other.response)
    await issuer.issue(other.form, one.response)
  }
  const tokens = await Promise.all(
    ['user|alice', 'user|mallory'].map((sub) => issuer.token({ sub })),
  )
  const crossed = await Promise.all(tokens.map(get))
  assert.deepEqual(
    crossed.map(({ code }) => code),
    ['exchange_misconfigured', 'exchange_misconfigured'],
  )
  assert.equal(upstream.received.length, 0)

  issuer.answer = issuer.issue
  passRefusal()
  for (const token of tokens) assert.equal((await get(token)).status, 200)
  assert.deepEqual(
    upstream.received.map(({ headers }) => claimsOf(headers.authorization)['sub']),
    ['user|alice', 'user|mallory'],
  )
})

for (const [one, other, same] of [
  ['1e999', '1e999', false],
  ['1e999', '-1e999', false],
  ['1e999', 'null', false],
  ['9007199254740993', '9007199254740992', false],
  ['1.50', '15e-1', true],
] as const) {
  test(`with key: context, two tokens of ${one} and ${other} share ${same ? 'one' : 'no'} entry`, () => {
    const route = { exchange: { key: 'context' } }
    const keyOf = (written: string, value: string): string => {
      const claims = JSON.parse(`{"sub":"alice","level":${written}}`) as Record<string, unknown>
      return exchangeKey(permit({ subject: { value, claims }, route }))
    }
    const keys = [keyOf(one, unsignedJwt({ jti: 1 })), keyOf(other, unsignedJwt({ jti: 2 }))]
    assert.equal(keys[0] === keys[1], same)
  })
}
