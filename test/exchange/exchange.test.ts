import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { Issuer } from '../../src/config/config.ts'
import { GatewayError } from '../../src/errors.ts'
import { createExchange, type Exchange } from '../../src/exchange/exchange.ts'
import { measured } from '../../src/exchange/measure.ts'
import { createMetrics } from '../../src/metrics.ts'
import { createOutbound } from '../../src/outbound.ts'
import {
  api,
  ask,
  IDENTIFIER,
  issuedToken,
  issuer,
  listen,
  permit,
  unsignedJwt,
} from '../support.ts'

const ISSUED_TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const TARGET = 'https://orders.internal'

interface Sent {
  readonly path: string
  readonly form: URLSearchParams
}

type PathOf = (issuer: Issuer, identifier: string) => Promise<string>
const onlyToken: PathOf = async () => '/token'

/** An exchange with an issuer on loopback that says what it was sent; by default it issues what is right. */
async function exchangeAt(
  context: TestContext,
  {
    answer = {
      access_token: unsignedJwt({ iss: IDENTIFIER, sub: 'alice', aud: TARGET }),
    } as object,
    silent = false,
    pathOf = onlyToken,
  } = {},
): Promise<{ exchange: Exchange; sent: Sent[] }> {
  const sent: Sent[] = []
  const origin = await listen(context, (request, response) => {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      sent.push({ path: request.url ?? '', form: new URLSearchParams(body) })
      if (silent) return
      const whole = { token_type: 'Bearer', issued_token_type: ISSUED_TYPE, expires_in: 60 }
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ ...whole, ...answer }))
    })
  })
  const outbound = createOutbound()
  context.after(() => outbound.close())
  const tokenEndpointOf = async (issuer: Issuer, identifier: string): Promise<string> =>
    origin + (await pathOf(issuer, identifier))
  return { exchange: createExchange({ tokenEndpointOf, outbound }), sent }
}

test('the subject token is exchanged for the route’s audience, resource and scopes', async (context) => {
  const { exchange, sent } = await exchangeAt(context)
  const resource = 'https://resource.internal'
  await exchange(
    permit({
      subject: { value: 'the.subject.token' },
      route: { exchange: { resource, scopes: ['read', 'write'] } },
    }),
    ask(),
  )
  assert.deepEqual(Object.fromEntries(sent[0]!.form), {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: 'the.subject.token',
    subject_token_type: ISSUED_TYPE,
    requested_token_type: ISSUED_TYPE,
    audience: TARGET,
    resource,
    scope: 'read write',
    client_id: 'storefront-client',
    client_secret: 'client secret',
  })
})

test('what the route does not say is not sent', async (context) => {
  const { exchange, sent } = await exchangeAt(context)
  const target = { audience: undefined, resource: TARGET, scopes: [] }
  await exchange(permit({ route: { exchange: target } }), ask())
  const { form } = sent[0]!
  assert.deepEqual(
    [form.has('audience'), form.has('scope'), form.get('resource')],
    [false, false, TARGET],
  )
})

test('an issued token is counted from when it was asked for', async (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 })
  const { exchange } = await exchangeAt(context)
  const token = await exchange(permit(), ask())
  assert.equal(token.expiresAt, 1_800_000_060_000)
})

test('what comes back is checked before anybody has it', async (context) => {
  const answer = { access_token: unsignedJwt({ iss: IDENTIFIER, sub: 'bob', aud: TARGET }) }
  const { exchange } = await exchangeAt(context, { answer })
  await assert.rejects(async () => exchange(permit(), ask()), { code: 'exchange_misconfigured' })
})

for (const token_type of ['N_A', 'mac', undefined]) {
  test(`a token of type ${token_type} never gets any further`, async (context) => {
    const { exchange } = await exchangeAt(context, { answer: { access_token: 'x', token_type } })
    await assert.rejects(async () => exchange(permit(), ask()), { code: 'exchange_misconfigured' })
  })
}

test('an exchange goes to the issuer by the identifier that the subject has', async (context) => {
  const custom = 'https://custom.example/'
  const { exchange, sent } = await exchangeAt(context, {
    answer: { access_token: 'opaque' },
    pathOf: async (_, identifier) => (identifier === custom ? '/custom' : '/token'),
  })
  const owner = api({ issuer: issuer({ identifiers: [IDENTIFIER, custom] }) })
  for (const identifier of [IDENTIFIER, custom, IDENTIFIER]) {
    await exchange(permit({ subject: { api: owner, issuer: identifier } }), ask())
  }
  assert.deepEqual(
    sent.map(({ path }) => path),
    ['/token', '/custom', '/token'],
  )
})

test('each API exchanges as its own client', async (context) => {
  const { exchange, sent } = await exchangeAt(context, { answer: { access_token: 'opaque' } })
  for (const name of ['one', 'other', 'one']) {
    const client = { id: `client of ${name}`, method: 'client_secret_post', secret: name } as const
    await exchange(permit({ subject: { api: api({ name, client }) } }), ask())
  }
  assert.deepEqual(
    sent.map(({ form }) => [form.get('client_id'), form.get('client_secret')]),
    [
      ['client of one', 'one'],
      ['client of other', 'other'],
      ['client of one', 'one'],
    ],
  )
})

test('a token endpoint that moved is asked at its new place', async (context) => {
  let path = '/old'
  const { exchange, sent } = await exchangeAt(context, {
    answer: { access_token: 'opaque' },
    pathOf: async () => path,
  })
  await exchange(permit(), ask())
  path = '/new'
  await exchange(permit(), ask())
  assert.deepEqual(
    sent.map(({ path }) => path),
    ['/old', '/new'],
  )
})

test('an issuer whose token endpoint is not known is unavailable', async (context) => {
  const { exchange, sent } = await exchangeAt(context, {
    pathOf: () => Promise.reject(new Error('its-own-words')),
  })
  await assert.rejects(async () => exchange(permit(), ask()), {
    code: 'exchange_unavailable',
    retryAfter: 1,
    message: 'the token endpoint is not known',
  })
  assert.equal(sent.length, 0)
})

test('who left before anything was sent has nothing sent', async (context) => {
  const left = new Error('the caller left')
  const controller = new AbortController()
  const { exchange, sent } = await exchangeAt(context, {
    pathOf: async () => {
      controller.abort(left)
      return '/token'
    },
  })
  await assert.rejects(async () => exchange(permit(), ask({ signal: controller.signal })), left)
  assert.equal(sent.length, 0)
})

test('who leaves after it was sent does not stop it', async (context) => {
  const controller = new AbortController()
  const { exchange, sent } = await exchangeAt(context)
  const answer = Promise.resolve(exchange(permit(), ask({ signal: controller.signal })))
  while (sent.length === 0) await new Promise((resolve) => setImmediate(resolve))
  controller.abort()
  assert.equal((await answer).scheme, 'Bearer')
})

test('an exchange whose deadline has passed is not waited for', async (context) => {
  const { exchange, sent } = await exchangeAt(context, { silent: true })
  await assert.rejects(async () => exchange(permit(), ask({ deadline: Date.now() - 1 })), {
    code: 'exchange_unavailable',
  })
  assert.ok(sent.length <= 1)
})

for (const [what, exchange, outcome] of [
  ['an answer', () => issuedToken(), 'ok'],
  [
    'a refusal',
    () => {
      throw new GatewayError('exchange_denied', 'denied')
    },
    'exchange_denied',
  ],
  [
    'a defect',
    () => {
      throw new TypeError('a defect')
    },
    'internal_error',
  ],
  [
    'a dropped one',
    (_, { signal }) => {
      throw signal.reason
    },
    'dropped',
  ],
] as readonly (readonly [string, Exchange, string])[]) {
  test(`${what} is counted as ${outcome}, and timed`, async () => {
    const metrics = createMetrics()
    const signal = outcome === 'dropped' ? AbortSignal.abort() : new AbortController().signal
    await Promise.resolve(measured(exchange, metrics)(permit(), ask({ signal }))).catch(
      () => undefined,
    )
    const of = { issuer: 'tenant', grant: 'token-exchange' }
    assert.equal(metrics.counter('behalf_exchanges_total', '', { ...of, outcome }).value, 1)
    assert.match(metrics.render(), /^behalf_exchange_seconds_count\{.*\} 1$/m)
  })
}
