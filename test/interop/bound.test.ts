import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import https from 'node:https'
import { test, type TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { createExchange } from '../../src/exchange/exchange.ts'
import type { Client } from '../../src/config/config.ts'
import { createOutbound } from '../../src/outbound.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { verifyProof } from '../proofs.ts'
import { startProxy, listen, ask as send } from '../proxy/upstream.ts'
import { api, ask, issuer as issuerOf, permit } from '../support.ts'
import {
  bearer,
  claimsOf,
  oneRoute,
  startGateway,
  startUpstream,
  type Upstream,
} from '../system.ts'
import { GATEWAY_CLIENT, startAuthorizationServer } from './authorization-server.ts'

const PEM = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  ...{ type: 'pkcs8', format: 'pem' },
}) as string

/** What each request to the upstream proves, judged as a resource server does (RFC 9449, section 7.1). */
async function provenBy(upstream: Upstream): Promise<readonly string[]> {
  const thumbprints: string[] = []
  const jtis = new Set<string>()
  for (const { method, url, headers } of upstream.received) {
    const [scheme, accessToken = ''] = (headers.authorization ?? '').split(' ')
    assert.equal(scheme, 'DPoP')
    const expected = { method, url: upstream.origin + url, accessToken }
    const { thumbprint, jti } = await verifyProof(headers['dpop'], expected)
    assert.deepEqual(claimsOf(headers.authorization)['cnf'], { jkt: thumbprint })
    thumbprints.push(thumbprint)
    jtis.add(jti)
  }
  assert.equal(jtis.size, upstream.received.length)
  return thumbprints
}

for (const nonces of [false, true]) {
  const how = nonces ? 'that wants its nonce in each proof' : 'that wants no nonce'
  test(`oidc-provider ${how} binds tokens to our key, and the upstream has the proof of it`, async (t) => {
    const issuer = await startAuthorizationServer('RS256', undefined, { nonces })
    t.after(() => issuer.close())
    const upstream = await startUpstream(t)
    const gateway = await startGateway(
      t,
      oneRoute({
        issuer: issuer.issuer,
        upstream: upstream.origin,
        client: { ...GATEWAY_CLIENT, dpopKey: PEM },
        exchange: { bound: 'dpop' },
      }),
    )
    for (const user of ['alice', 'bob']) {
      const token = await issuer.token(user)
      for (let request = 0; request < 2; request++) {
        const response = await fetch(`${gateway.origin}/orders/${request}?page=2`, bearer(token))
        assert.equal(response.status, 200)
        assert.equal(((await response.json()) as { sub: string }).sub, user)
      }
    }
    assert.equal(issuer.exchanges(), nonces ? 3 : 2)
    assert.equal(new Set(await provenBy(upstream)).size, 1)
    const logged = gateway.logged()
    for (const line of PEM.split('\n').slice(1, -2)) assert.ok(!logged.includes(line))
    for (const { headers } of upstream.received) {
      assert.ok(!logged.includes(String(headers['dpop']).split('.')[2]!))
    }
  })
}

test(
  'a token of oidc-provider that is bound and was not to be reaches no upstream',
  { skip: NO_OPENSSL },
  async (t) => {
    const shows = { method: 'tls_client_auth' }
    const unbound = await overTls(t, createAuthority(), { bound: undefined }, shows)
    const refused = unbound.exchange(await unbound.token())
    await assert.rejects(refused, { code: 'exchange_misconfigured' })
    const bound = await overTls(t, createAuthority(), {}, shows)
    assert.equal((await bound.exchange(await bound.token())).scheme, 'Bearer')
  },
)

/** An exchange with a client that shows a certificate, at an issuer that binds to it. */
async function overTls(
  t: TestContext,
  authority: ReturnType<typeof createAuthority>,
  asked: object,
  client: object = { method: 'client_secret_basic', secret: GATEWAY_CLIENT.secret },
) {
  const own = authority.issue('gateway')
  const { certificate: cert, key } = authority.issue('issuer')
  const outbound = createOutbound({ authorities: authority.certificate })
  t.after(() => outbound.close())
  const method = 'secret' in client ? 'client_secret_basic' : 'tls_client_auth'
  const server = await startAuthorizationServer(
    'RS256',
    {
      token_endpoint_auth_method: method,
      tls_client_certificate_bound_access_tokens: true,
      ...(method === 'client_secret_basic'
        ? { client_secret: GATEWAY_CLIENT.secret }
        : { tls_client_auth_subject_dn: 'CN=gateway' }),
    },
    {
      tls: { cert, key, ca: authority.certificate },
      post: (url, body) =>
        outbound.fetch(url, {
          ...{ method: 'POST', body },
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        }),
    },
  )
  t.after(() => server.close())
  const exchange = createExchange({
    tokenEndpointOf: async () => `${server.issuer}/token`,
    outbound,
    presenting: (identity) => createOutbound({ identity, authorities: authority.certificate }),
  })
  t.after(() => exchange.close())
  const issuer = issuerOf({ identifiers: [server.issuer] })
  const certified = { certificate: { pem: own.certificate }, key: { pem: own.key } }
  const given = api({
    issuer,
    client: { id: GATEWAY_CLIENT.id, ...certified, ...client } as Client,
  })
  return {
    token: () => server.token('alice'),
    exchange: async (value: string) => {
      const subject = { value, api: given, issuer: server.issuer }
      const route = { exchange: { audience: 'https://orders.internal', bound: 'mtls', ...asked } }
      return exchange(permit({ subject, route }), ask())
    },
  }
}

for (const [how, client] of [
  ['by a secret', undefined],
  ['by the certificate itself', { method: 'tls_client_auth' }],
] as const) {
  test(
    `oidc-provider binds tokens to the certificate of a client that authenticates ${how}, and the upstream sees it`,
    { skip: NO_OPENSSL },
    async (t) => {
      const authority = createAuthority()
      const { exchange, token } = await overTls(t, authority, {}, client)
      const issued = await exchange(await token())
      const { certificate: cert, key } = authority.issue('upstream')
      const shown: unknown[] = []
      const server = https.createServer(
        { cert, key, ca: authority.certificate, requestCert: true },
        ({ socket, headers }, response) => {
          // RFC 8705, section 3: what a resource server compares.
          const { raw } = (socket as TLSSocket).getPeerX509Certificate()!
          const cnf = claimsOf(headers.authorization)['cnf']
          void crypto.subtle.digest('SHA-256', raw).then((digest) => {
            const thumbprint = Buffer.from(digest).toString('base64url')
            shown.push([cnf, { 'x5t#S256': thumbprint }])
            response.end('fine')
          })
        },
      )
      const port = await listen(t, server)
      t.after(() => server.closeAllConnections())
      const proxy = await startProxy(t, `https://127.0.0.1:${port}`, {
        ...{ token: issued, authorities: authority.certificate },
      })
      await send(t, proxy.port, 'GET /orders HTTP/1.1\r\nHost: gateway.example\r\n\r\n')
      assert.deepEqual([proxy.failures, shown.length], [[], 1])
      const [[said, seen]] = shown as [[unknown, unknown]]
      assert.deepEqual(said, seen)
    },
  )
}
