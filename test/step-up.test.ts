/** What an upstream or an issuer asks of the user reaches the caller, in the gateway's own words. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { startIssuer, type TestIssuer } from './issuer.ts'
import {
  bearer,
  oneRoute,
  startGateway,
  startUpstream,
  type Gateway,
  type Upstream,
} from './system.ts'

const CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1800000000"}}}'
const CARRIED = Buffer.from(CLAIMS).toString('base64')
/** Delegated permissions, which only a user's token has. */
const OF_ENTRA = { scope: undefined, scp: 'read:orders' }
const WANTS_CLAIMS = `Bearer realm="", authorization_uri="https://evil.example", error="insufficient_claims", claims="${CARRIED}"`

interface Setting {
  readonly gateway: Gateway
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  ask(init?: RequestInit): Promise<Response>
  /** With another token of the same context. */
  again(init?: RequestInit): Promise<Response>
}

/** An upstream that answers with each of these challenges in turn, and then 200. */
async function against(
  t: TestContext,
  challenges: readonly (readonly [status: number, challenge: string])[],
  exchange?: object,
): Promise<Setting> {
  const issuer = await startIssuer(t)
  const left = [...challenges]
  const upstream = await startUpstream(t, (_received, response) => {
    const [status, challenge] = left.shift() ?? [200]
    if (challenge !== undefined) response.setHeader('www-authenticate', challenge)
    response.writeHead(status).end('canary')
  })
  const whole = oneRoute({ issuer: issuer.url, upstream: upstream.origin })
  const { routes } = whole as { readonly routes: readonly object[] }
  const changed = exchange && { routes: [{ ...routes[0], exchange }] }
  const gateway = await startGateway(t, { ...whole, ...changed })
  const own = bearer(await issuer.token())
  const ask = async (init: RequestInit = {}): Promise<Response> =>
    fetch(`${gateway.origin}/orders`, { ...own, ...init })
  const again = async (init: RequestInit = {}) => ask({ ...bearer(await issuer.token()), ...init })
  return { gateway, issuer, upstream, ask, again }
}

async function problem(response: Response): Promise<readonly [number, string, string]> {
  const text = await response.text()
  assert.ok(!text.includes('canary'))
  const { code } = JSON.parse(text) as { readonly code: string }
  return [response.status, code, response.headers.get('www-authenticate') ?? '']
}

test('a lack of scope at the upstream is ours to tell, and costs no exchange', async (t) => {
  const challenge = 'Bearer error="insufficient_scope", error_description="canary", scope="a b"'
  const { ask, issuer, upstream } = await against(t, [[403, challenge]])
  assert.deepEqual(await problem(await ask()), [
    403,
    'insufficient_scope',
    'Bearer error="insufficient_scope", error_description="the upstream asks for more scope", scope="a b"',
  ])
  assert.equal((await ask()).status, 200)
  assert.deepEqual([issuer.exchanges.length, upstream.received.length], [1, 2])
})

test('a step-up that the upstream asks for is ours to tell, also where a body was on its way', async (t) => {
  const challenge =
    'DPoP algs="ES256", error="insufficient_user_authentication", acr_values="urn:mfa", max_age="60"'
  const { ask } = await against(t, [[401, challenge]])
  assert.deepEqual(await problem(await ask({ method: 'POST', body: 'x'.repeat(100_000) })), [
    401,
    'insufficient_user_authentication',
    'Bearer error="insufficient_user_authentication", error_description="the upstream asks for a stronger ' +
      'authentication of the user", acr_values="urn:mfa", max_age="60"',
  ])
  assert.equal((await ask()).status, 200)
})

test('any other 403 is the upstream’s own, with its challenge and its body', async (t) => {
  const { ask } = await against(t, [[403, 'Bearer error="access_denied"']])
  const response = await ask()
  assert.equal(response.status, 403)
  assert.equal(response.headers.get('www-authenticate'), 'Bearer error="access_denied"')
  assert.equal(await response.text(), 'canary')
})

test('where nothing of ours was sent, no challenge is ours to tell', async (t) => {
  const challenge = 'Bearer error="insufficient_scope"'
  const { ask } = await against(t, [[403, challenge]], { grant: 'none' })
  const response = await ask()
  assert.deepEqual([response.status, await response.text()], [403, 'canary'])
})

test('claims that the upstream asks for are first asked of the issuer, whose next token may do', async (t) => {
  const { ask, issuer, upstream } = await against(t, [[401, WANTS_CLAIMS]])
  assert.equal((await ask()).status, 200)
  assert.deepEqual([issuer.exchanges.length, upstream.received.length], [2, 2])
  const [first, second] = upstream.received.map(({ headers }) => headers.authorization)
  assert.notEqual(first, second)
})

for (const [what, init, exchanges] of [
  ['a request that can be sent again', {}, 2],
  ['a request that cannot', { method: 'POST', body: 'x' }, 2],
] as const) {
  test(`claims that no token satisfies are carried back to the caller: ${what}`, async (t) => {
    const wants = [401, WANTS_CLAIMS] as const
    const { ask, issuer } = await against(t, [wants, wants])
    assert.deepEqual(await problem(await ask(init)), [
      401,
      'insufficient_user_authentication',
      'Bearer error="insufficient_claims", error_description="the upstream asks for a stronger ' +
        `authentication of the user", claims="${CARRIED}"`,
    ])
    assert.equal(issuer.exchanges.length, exchanges)
  })
}

test('a token that the upstream asks claims for is not served to the token that satisfies them', async (t) => {
  const wants = [401, WANTS_CLAIMS] as const
  const exchange = { audience: 'https://orders.internal', scopes: ['orders:read'], key: 'context' }
  const { ask, again, issuer, upstream } = await against(t, [wants, wants], exchange)
  assert.equal((await ask()).status, 401)
  // The same one is answered as before, and costs nothing.
  assert.equal((await ask()).status, 401)
  assert.deepEqual([issuer.exchanges.length, upstream.received.length], [2, 2])
  // Another one says the same but for its times, as one does that satisfies a challenge of continuous access evaluation.
  assert.equal((await again({ method: 'POST', body: 'x' })).status, 200)
  assert.equal(issuer.exchanges.length, 3)
  const [, second, third] = upstream.received.map(({ headers }) => headers.authorization)
  assert.notEqual(second, third)
})

test('claims that cannot be carried are a token that was refused, as before', async (t) => {
  const wants = [401, WANTS_CLAIMS.replace(CARRIED, 'bm8=')] as const
  const { ask } = await against(t, [wants, wants])
  const [status, code] = await problem(await ask({ method: 'POST', body: 'x' }))
  assert.deepEqual([status, code], [502, 'upstream_rejected_token'])
})

test('claims that Entra asks for come back whole, and are remembered for that token alone', async (t) => {
  const [issuer, upstream] = await Promise.all([startIssuer(t), startUpstream(t)])
  issuer.answer = (_form, response) => {
    response.writeHead(400, { 'content-type': 'application/json' })
    const error = 'interaction_required'
    response.end(JSON.stringify({ error, error_description: 'AADSTS50076 canary', claims: CLAIMS }))
  }
  const gateway = await startGateway(
    t,
    oneRoute({
      issuer: issuer.url,
      upstream: upstream.origin,
      profile: 'entra',
      exchange: { audience: undefined, scopes: ['api://orders/.default'] },
    }),
  )
  const asked = async (): Promise<Response> =>
    fetch(`${gateway.origin}/orders`, bearer(await issuer.token(OF_ENTRA)))
  const own = bearer(await issuer.token({ ...OF_ENTRA, jti: 'one' }))
  for (let times = 0; times < 2; times++) {
    const response = await fetch(`${gateway.origin}/orders`, own)
    assert.deepEqual(await problem(response), [
      401,
      'insufficient_user_authentication',
      'Bearer error="insufficient_claims", error_description="the issuer asks for a stronger ' +
        `authentication of the user", claims="${CARRIED}"`,
    ])
  }
  assert.equal(issuer.exchanges.length, 1)
  assert.equal((await asked()).status, 401)
  assert.equal(issuer.exchanges.length, 2)
  assert.equal(upstream.received.length, 0)
  assert.ok(!gateway.metrics.render().includes('canary'))
})
