import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { authorize, type Permit } from '../../src/authorize/authorize.ts'
import type { Config } from '../../src/config/config.ts'
import { GatewayError } from '../../src/errors.ts'
import { claimsChallenge } from '../../src/exchange/claims-challenge.ts'
import type { Exchange } from '../../src/exchange/exchange.ts'
import { createMetrics } from '../../src/metrics.ts'
import { layered } from '../../src/server/layers.ts'
import { api, ask, issuedToken, issuer, route, subject } from '../support.ts'
import { issuerThat } from './grants/issuer.ts'

const CLAIMS = '{"access_token":{"polids":{"essential":true,"values":["9ab03e19"]}}}'
const TOKEN = 'https://login.microsoftonline.com/a-tenant/oauth2/v2.0/token'

test('claims are carried byte for byte, with where to go with them', () => {
  const spaced = ` ${CLAIMS}\n`
  assert.deepEqual(claimsChallenge(spaced, TOKEN), {
    claims: spaced,
    authorizationUri: 'https://login.microsoftonline.com/a-tenant/oauth2/v2.0/authorize',
  })
  assert.deepEqual(claimsChallenge(CLAIMS, 'http://127.0.0.1/token'), { claims: CLAIMS })
})

for (const claims of [
  undefined,
  null,
  7,
  '',
  'text',
  '[]',
  '{}',
  'null',
  '{"a":1}}',
  '{"a":1,"a":2}',
  { access_token: {} },
  JSON.stringify({ a: 'x'.repeat(2_048) }),
  JSON.stringify({ é: 'é'.repeat(1_024) }),
]) {
  test(`${JSON.stringify(claims)?.slice(0, 30) ?? 'undefined'} asks for no claims`, () => {
    assert.equal(claimsChallenge(claims, TOKEN), undefined)
  })
}

const ENTRA = api({ issuer: issuer({ profile: 'entra' }) })

function entraRoute(exchange: object = {}) {
  return route({
    authenticate: { apis: [ENTRA] },
    exchange: {
      grant: 'jwt-bearer',
      audience: undefined,
      scopes: ['api://o/.default'],
      ...exchange,
    },
  })
}

async function refusalOf(
  context: TestContext,
  body: object,
  of = ENTRA,
): Promise<GatewayError | undefined> {
  const { exchange } = await issuerThat(context, () => ({ status: 400, body }))
  const permit = authorize(subject({ api: of }), entraRoute({ grant: 'jwt-bearer' }))
  return Promise.resolve(exchange(permit, ask())).then(
    () => undefined,
    (error: GatewayError) => error,
  )
}

for (const [body, code, claims] of [
  [{ error: 'interaction_required', claims: CLAIMS }, 'insufficient_user_authentication', CLAIMS],
  [{ error: 'invalid_grant', claims: CLAIMS }, 'insufficient_user_authentication', CLAIMS],
  [{ error: 'interaction_required', claims: '[]' }, 'insufficient_user_authentication', undefined],
  [{ error: 'invalid_grant', claims: '{}' }, 'invalid_token', undefined],
  [{ error: 'consent_required', claims: CLAIMS }, 'exchange_denied', undefined],
  [{ error: 'invalid_client', claims: CLAIMS }, 'exchange_misconfigured', undefined],
] as const) {
  test(`entra: ${JSON.stringify(body).slice(0, 60)} is ${code}${claims ? ' with its claims' : ''}`, async (context) => {
    const error = await refusalOf(context, body)
    assert.equal(error?.code, code)
    assert.equal(error.stepUp?.claims, claims)
  })
}

test('claims of an issuer that is not Entra are no challenge', async (context) => {
  const other = api({ issuer: issuer({ profile: 'rfc8693' }) })
  const error = await refusalOf(context, { error: 'invalid_grant', claims: CLAIMS }, other)
  assert.equal(error?.code, 'invalid_token')
})

const NOW = 1_800_000_000_000

/** Two tokens of one user that differ in nothing but their times, and an issuer that changes its mind. */
function world(context: TestContext) {
  context.mock.timers.enable({ apis: ['Date'], now: NOW })
  const one = entraRoute({ key: 'context' })
  let sent = 0
  const state: { refusal: GatewayError | undefined } = { refusal: undefined }
  const exchange: Exchange = async () => {
    sent++
    await Promise.resolve()
    if (state.refusal !== undefined) throw state.refusal
    return issuedToken({ value: `issued ${sent}`, expiresAt: Date.now() + 1_000_000 })
  }
  const config = {
    issuers: [ENTRA.issuer],
    apis: [ENTRA],
    routes: [one],
    cache: { maxEntries: 100, maxBytes: 1_000_000 },
    server: { replicas: 1, workers: 1 },
  } as unknown as Config
  const layers = layered(exchange, config, { maxBytes: 1_000_000, metrics: createMetrics() })
  const holder = (value: string): Permit =>
    authorize(subject({ api: ENTRA, value, expiresAt: NOW + 3_600_000 }), one)
  const request = async (value: string): Promise<string | undefined> => {
    const own = ask({ deadline: Date.now() + 5_000 })
    return Promise.resolve()
      .then(() => layers.exchange(holder(value), own))
      .then(
        (token) => token.value,
        (error: GatewayError) => error.stepUp?.claims ?? error.code,
      )
  }
  return { request, state, sent: () => sent }
}

const CHALLENGE = new GatewayError('insufficient_user_authentication', 'no', {
  stepUp: { claims: CLAIMS },
})

test('what was kept is never served again once the issuer asks the user for more', async (context) => {
  const { request, state } = world(context)
  assert.equal(await request('a'), 'issued 1')
  assert.equal(await request('a'), 'issued 1')
  // Past nine tenths of its life it is renewed behind a request that still gets it.
  context.mock.timers.tick(950_000)
  state.refusal = CHALLENGE
  assert.equal(await request('a'), 'issued 1')
  await new Promise(setImmediate)
  assert.equal(await request('a'), CLAIMS)
  assert.equal(await request('b'), CLAIMS)
})

test('an outage of the issuer takes nothing from what is kept', async (context) => {
  const { request, state } = world(context)
  assert.equal(await request('a'), 'issued 1')
  context.mock.timers.tick(950_000)
  state.refusal = new GatewayError('exchange_unavailable', 'no', { retryAfter: 1 })
  assert.equal(await request('a'), 'issued 1')
  await new Promise(setImmediate)
  assert.equal(await request('a'), 'issued 1')
})

test('a claims challenge is remembered for the token that met it, and for no other', async (context) => {
  const { request, state, sent } = world(context)
  state.refusal = CHALLENGE
  assert.equal(await request('a'), CLAIMS)
  assert.equal(await request('a'), CLAIMS)
  assert.equal(sent(), 1)
  state.refusal = undefined
  assert.equal(await request('b'), 'issued 2')
})
