import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { bearer, oneRoute, startGateway, startUpstream, type Upstream } from '../system.ts'
import { startAuthorizationServer, type AuthorizationServer } from './authorization-server.ts'

interface Path {
  readonly issuer: AuthorizationServer
  readonly upstream: Upstream
  /** What the gateway answers to this token. */
  ask(token: string): Promise<Response>
}

/** A gateway whose only route exchanges nothing, at an API that is no client. */
async function pathWith(t: TestContext, exchange: object): Promise<Path> {
  const issuer = await startAuthorizationServer()
  t.after(() => issuer.close())
  const upstream = await startUpstream(t)
  const input = oneRoute({ issuer: issuer.issuer, upstream: upstream.origin }) as {
    apis: { storefront: { client?: object } }
    routes: { exchange: object }[]
  }
  delete input.apis.storefront.client
  input.routes[0]!.exchange = exchange
  const gateway = await startGateway(t, input)
  return { issuer, upstream, ask: (token) => fetch(`${gateway.origin}/orders`, bearer(token)) }
}

const BECAUSE = { grant: 'passthrough', because: 'it is the same service' }

for (const [what, exchange, sent] of [
  ['a passthrough route hands the caller’s own token on', BECAUSE, true],
  ['a route without credentials sends none', { grant: 'none' }, false],
] as const) {
  test(`${what}, and the issuer is asked for nothing`, async (t) => {
    const { issuer, upstream, ask } = await pathWith(t, exchange)
    const token = await issuer.token('alice')
    for (let request = 0; request < 2; request++) await ask(token)
    assert.deepEqual(
      upstream.received.map(({ headers }) => headers.authorization),
      Array.from({ length: 2 }, () => (sent ? `Bearer ${token}` : undefined)),
    )
    assert.equal(issuer.exchanges(), 0)
  })

  test(`${what}, but only a verified and authorized one’s`, async (t) => {
    const { issuer, upstream, ask } = await pathWith(t, exchange)
    const other = await startAuthorizationServer()
    t.after(() => other.close())
    assert.equal((await ask(await other.token('alice'))).status, 401)
    assert.equal((await ask(await issuer.token('alice', 'write:orders'))).status, 403)
    assert.equal(upstream.received.length, 0)
    await ask(await issuer.token('alice'))
    assert.equal(upstream.received.length, 1)
  })
}

test('a token that is not for the upstream is not passed through where that is asked', async (t) => {
  for (const [expectAudience, status] of [
    ['https://orders.internal', 403],
    ['https://storefront.example', 200],
  ] as const) {
    const { issuer, upstream, ask } = await pathWith(t, { ...BECAUSE, expectAudience })
    const answer = await ask(await issuer.token('alice'))
    const { code } = (await answer.json()) as { code?: string }
    const isTaken = status === 200
    assert.deepEqual([answer.status, code], [status, isTaken ? undefined : 'not_permitted'])
    assert.equal(upstream.received.length, isTaken ? 1 : 0)
  }
})
