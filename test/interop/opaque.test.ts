import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  assertHeadersAllowed,
  bearer,
  type Gateway,
  oneRoute,
  startGateway,
  startUpstream,
  type Upstream,
} from '../system.ts'
import {
  type AuthorizationServer,
  GATEWAY_CLIENT,
  startAuthorizationServer,
} from './authorization-server.ts'

interface Setting {
  readonly issuer: AuthorizationServer
  readonly upstream: Upstream
  readonly gateway: Gateway
  ask(token: string): Promise<readonly [number, unknown]>
}

async function setting(t: TestContext, opaque: 'json' | 'signed', client: object = GATEWAY_CLIENT) {
  const issuer = await startAuthorizationServer('RS256', undefined, { opaque })
  t.after(() => issuer.close())
  const upstream = await startUpstream(t)
  const api = { introspection: true }
  const gateway = await startGateway(
    t,
    oneRoute({ issuer: issuer.issuer, upstream: upstream.origin, client, api }),
  )
  const ask: Setting['ask'] = async (token) => {
    const answer = await fetch(`${gateway.origin}/orders`, bearer(token))
    const body = (await answer.json()) as { readonly code?: unknown; readonly sub?: unknown }
    return [answer.status, body.code ?? body.sub]
  }
  return { issuer, upstream, gateway, ask } satisfies Setting
}

for (const opaque of ['json', 'signed'] as const) {
  test(`oidc-provider is asked once about an opaque token, exchanges it once, and answers ${opaque}`, async (t) => {
    const { issuer, upstream, gateway, ask } = await setting(t, opaque)
    const token = await issuer.token('alice')
    assert.doesNotMatch(token, /\./)
    for (let round = 0; round < 3; round++) assert.deepEqual(await ask(token), [200, 'alice'])
    assert.deepEqual([issuer.introspections(), issuer.exchanges()], [1, 1])
    assertHeadersAllowed(upstream)
    assert.equal(JSON.stringify(upstream.received).includes(token), false)
    assert.equal(gateway.logged().includes(token), false)
  })

  test(`a token that oidc-provider does not know is refused, once asked (${opaque})`, async (t) => {
    const { issuer, upstream, ask } = await setting(t, opaque)
    const made = 'x'.repeat(43)
    for (let round = 0; round < 3; round++) {
      assert.deepEqual(await ask(made), [401, 'invalid_token'])
    }
    assert.deepEqual([issuer.introspections(), issuer.exchanges()], [1, 0])
    assert.equal(upstream.received.length, 0)
    assert.deepEqual(await ask(await issuer.token('alice')), [200, 'alice'])
  })
}

test('a token that is revoked is refused when a minute is over', async (t) => {
  // Before anything is started: what is kept goes by the clock that it found.
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const { issuer, ask } = await setting(t, 'json')
  const token = await issuer.token('alice')
  assert.deepEqual(await ask(token), [200, 'alice'])
  await issuer.revoke(token)
  t.mock.timers.tick(59_000)
  assert.deepEqual(await ask(token), [200, 'alice'])
  t.mock.timers.tick(1_001)
  assert.deepEqual(await ask(token), [401, 'invalid_token'])
})

test('a token without the scope is known, and not enough', async (t) => {
  const { issuer, ask } = await setting(t, 'json')
  const token = await issuer.token('alice', 'write:orders')
  assert.deepEqual(await ask(token), [403, 'insufficient_scope'])
  assert.equal(issuer.exchanges(), 0)
})

test('a client secret that is refused is ours to mend, and says nothing of the token', async (t) => {
  const client = { ...GATEWAY_CLIENT, secret: 'another secret that nobody knows' }
  const { issuer, ask } = await setting(t, 'json', client)
  const token = await issuer.token('alice')
  assert.deepEqual(await ask(token), [502, 'exchange_misconfigured'])
})

test('an issuer that is gone is 503 with Retry-After, and no 401', async (t) => {
  const { issuer, gateway, ask } = await setting(t, 'json')
  const [known, unknown] = [await issuer.token('alice'), await issuer.token('bob')]
  assert.deepEqual(await ask(known), [200, 'alice'])
  await issuer.close()
  const answer = await fetch(`${gateway.origin}/orders`, bearer(unknown))
  assert.equal(answer.status, 503)
  assert.equal(answer.headers.get('retry-after'), '1')
  assert.equal(answer.headers.get('www-authenticate'), null)
  assert.deepEqual(await ask(known), [200, 'alice'])
})
