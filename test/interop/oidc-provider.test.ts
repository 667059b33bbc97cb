import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exportJWK, exportPKCS8, generateKeyPair } from 'jose'
import {
  assertHeadersAllowed,
  assertTokensContained,
  bearer,
  claimsOf,
  oneRoute,
  startGateway,
  startUpstream,
} from '../system.ts'
import { GATEWAY_CLIENT, startAuthorizationServer } from './authorization-server.ts'

for (const algorithm of ['RS256', 'PS256', 'ES256'] as const) {
  test(`a ${algorithm} token of oidc-provider is exchanged once and served from the cache after`, async (t) => {
    const issuer = await startAuthorizationServer(algorithm)
    t.after(() => issuer.close())
    const upstream = await startUpstream(t)
    const gateway = await startGateway(
      t,
      oneRoute({
        issuer: issuer.issuer,
        upstream: upstream.origin,
        client: { ...GATEWAY_CLIENT, method: 'client_secret_basic' },
        api: { algorithms: [algorithm] },
      }),
    )
    const token = await issuer.token('alice')

    for (let request = 0; request < 3; request++) {
      const response = await fetch(`${gateway.origin}/orders/${request}?page=2`, bearer(token))
      assert.equal(response.status, 200)
      const claims = (await response.json()) as Record<string, unknown>
      assert.equal(claims['aud'], 'https://orders.internal')
      assert.equal(claims['sub'], 'alice')
      assert.equal(claims['scope'], 'orders:read')
      assert.deepEqual(claims['act'], { sub: GATEWAY_CLIENT.id })
    }

    assert.equal(issuer.exchanges(), 1)
    assert.deepEqual(
      upstream.received.map(({ url }) => url),
      ['/orders/0?page=2', '/orders/1?page=2', '/orders/2?page=2'],
    )
    assertHeadersAllowed(upstream)
    assertTokensContained(gateway, upstream, token)
  })
}

test('each user of oidc-provider meets their own token, however many come at once', async (t) => {
  const issuer = await startAuthorizationServer()
  t.after(() => issuer.close())
  const upstream = await startUpstream(t)
  const gateway = await startGateway(
    t,
    oneRoute({ issuer: issuer.issuer, upstream: upstream.origin, client: GATEWAY_CLIENT }),
  )
  const users = Array.from({ length: 20 }, (_, index) => `user-${index}`)
  const tokens = await Promise.all(users.map((user) => issuer.token(user)))

  const answers = await Promise.all(
    Array.from({ length: 10 }, () =>
      tokens.map(async (token, index) => {
        const response = await fetch(`${gateway.origin}/orders`, bearer(token))
        const { sub } = (await response.json()) as { sub: string }
        return sub === users[index]
      }),
    ).flat(),
  )

  assert.equal(answers.length, 200)
  assert.ok(answers.every((own) => own))
  assert.equal(issuer.exchanges(), 20)
  assert.equal(upstream.received.length, 200)
})

test('a token that oidc-provider refuses is the caller’s 401, and nothing reaches the upstream', async (t) => {
  const issuer = await startAuthorizationServer()
  t.after(() => issuer.close())
  const other = await startAuthorizationServer()
  t.after(() => other.close())
  const upstream = await startUpstream(t)
  const gateway = await startGateway(
    t,
    oneRoute({ issuer: issuer.issuer, upstream: upstream.origin, client: GATEWAY_CLIENT }),
  )

  const foreign = await fetch(`${gateway.origin}/orders`, bearer(await other.token('alice')))
  assert.equal(foreign.status, 401)
  assert.equal(((await foreign.json()) as { code: string }).code, 'invalid_token')
  assert.equal(upstream.received.length, 0)
  assert.equal(issuer.exchanges(), 0)

  const own = await fetch(`${gateway.origin}/orders`, bearer(await issuer.token('alice')))
  assert.equal(own.status, 200)
  assert.equal(claimsOf(upstream.received[0]?.headers.authorization)['sub'], 'alice')
})

test('a client secret that oidc-provider refuses is our misconfiguration, not the caller’s', async (t) => {
  const issuer = await startAuthorizationServer()
  t.after(() => issuer.close())
  const upstream = await startUpstream(t)
  const gateway = await startGateway(
    t,
    oneRoute({
      issuer: issuer.issuer,
      upstream: upstream.origin,
      client: { id: GATEWAY_CLIENT.id, secret: 'not the secret' },
    }),
  )

  const response = await fetch(`${gateway.origin}/orders`, bearer(await issuer.token('alice')))
  assert.equal(response.status, 502)
  assert.equal(((await response.json()) as { code: string }).code, 'exchange_misconfigured')
  assert.equal(upstream.received.length, 0)
})

for (const algorithm of ['RS256', 'PS256', 'ES256'] as const) {
  test(`oidc-provider knows a client by what it signs with ${algorithm}, and not by another key`, async (t) => {
    const pair = await generateKeyPair(algorithm, { extractable: true })
    const other = await generateKeyPair(algorithm, { extractable: true })
    const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'of the gateway', use: 'sig' }
    const issuer = await startAuthorizationServer('RS256', {
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: algorithm,
      jwks: { keys: [jwk] },
    })
    t.after(() => issuer.close())
    const upstream = await startUpstream(t)
    const answerOf = async (key: typeof pair.privateKey): Promise<Response> => {
      const privateKey = await exportPKCS8(key)
      const client = { id: GATEWAY_CLIENT.id, privateKey, keyId: 'of the gateway', algorithm }
      const setting = { issuer: issuer.issuer, upstream: upstream.origin, client }
      const gateway = await startGateway(t, oneRoute(setting))
      return fetch(`${gateway.origin}/orders`, bearer(await issuer.token('alice')))
    }

    const own = await answerOf(pair.privateKey)
    assert.equal(own.status, 200)
    assert.equal(((await own.json()) as { sub: string }).sub, 'alice')
    const foreign = await answerOf(other.privateKey)
    assert.equal(foreign.status, 502)
    assert.equal(((await foreign.json()) as { code: string }).code, 'exchange_misconfigured')
    assert.equal(upstream.received.length, 1)
  })
}
