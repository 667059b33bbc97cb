import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { bearer, oneRoute, startGateway, startUpstream, type Gateway } from '../system.ts'

interface Setting {
  readonly gateway: Gateway
  readonly shop: TestIssuer
  readonly partner: TestIssuer
  /** The status of the answer, and the code where it is a failure. */
  readonly ask: (token: string) => Promise<readonly [number, unknown]>
}

/** One route that takes the tokens of two issuers, and exchanges each at its own. */
async function setting(t: TestContext, authorize: object = {}): Promise<Setting> {
  const [shop, partner, upstream] = [
    await startIssuer(t),
    await startIssuer(t),
    await startUpstream(t),
  ]
  const gateway = await startGateway(t, {
    issuers: {
      shop: { issuer: shop.url, profile: 'rfc8693' },
      partner: { issuer: partner.url, profile: 'rfc8693' },
    },
    apis: {
      storefront: {
        issuer: 'shop',
        audience: 'https://storefront.example',
        client: { id: 'storefront', secret: 'a-secret-of-the-storefront' },
      },
      partners: {
        issuer: 'partner',
        audience: 'https://partners.example',
        client: { id: 'partners', secret: 'a-secret-of-the-partners' },
      },
    },
    routes: [
      {
        name: 'orders',
        match: { path: '/orders' },
        authenticate: { apis: ['storefront', 'partners'] },
        authorize,
        exchange: { audience: 'https://orders.internal', scopes: ['orders:read'] },
        proxy: { upstream: upstream.origin },
      },
    ],
  })
  return {
    gateway,
    shop,
    partner,
    ask: async (token) => {
      const answer = await fetch(`${gateway.origin}/orders`, bearer(token))
      const body = (await answer.json()) as { readonly code?: unknown; readonly iss?: unknown }
      return [answer.status, body.code ?? body.iss]
    },
  }
}

const PARTNERS = { aud: 'https://partners.example' }

test('on a route with two APIs each token is exchanged at its own issuer, by its own API', async (t) => {
  const { ask, shop, partner } = await setting(t)
  assert.deepEqual(await ask(await shop.token()), [200, shop.url])
  assert.deepEqual(await ask(await partner.token(PARTNERS)), [200, partner.url])
  assert.deepEqual([shop.exchanges.length, partner.exchanges.length], [1, 1])
})

test('the same user of two issuers is two users', async (t) => {
  const { ask, shop, partner } = await setting(t)
  const [ours, theirs] = [await shop.token(), await partner.token(PARTNERS)]
  for (let round = 0; round < 2; round++) {
    assert.deepEqual(await ask(ours), [200, shop.url])
    assert.deepEqual(await ask(theirs), [200, partner.url])
  }
  assert.deepEqual([shop.exchanges.length, partner.exchanges.length], [1, 1])
})

test('a token of the one issuer for the API of the other is refused, and nobody is asked', async (t) => {
  const { ask, shop, partner } = await setting(t)
  for (const token of [await shop.token(PARTNERS), await partner.token()]) {
    assert.deepEqual(await ask(token), [401, 'invalid_token'])
  }
  assert.deepEqual([shop.exchanges.length, partner.exchanges.length], [0, 0])
})

test('one issuer that is gone takes only its own users with it', async (t) => {
  const { ask, shop, partner } = await setting(t)
  const [ours, theirs] = [await shop.token(), await partner.token(PARTNERS)]
  await partner.kill()
  assert.deepEqual(await ask(ours), [200, shop.url])
  const [status] = await ask(theirs)
  assert.equal(status, 503)
})

test('what a route asks of claims, clients and authentication is asked on a hit as on a miss', async (t) => {
  const tier = { claim: ['shop', 'tier'], equals: 'gold' }
  const { ask, shop } = await setting(t, { clients: ['spa'], claims: [tier], acrValues: ['mfa'] })
  const good = { shop: { tier: 'gold' }, acr: 'mfa' }
  const token = await shop.token(good)
  for (let round = 0; round < 2; round++) {
    assert.deepEqual(await ask(token), [200, shop.url])
    assert.deepEqual(await ask(await shop.token({ ...good, shop: { tier: 'tin' } })), [
      403,
      'not_permitted',
    ])
    assert.deepEqual(await ask(await shop.token({ ...good, azp: 'cli' })), [403, 'not_permitted'])
    assert.deepEqual(await ask(await shop.token({ ...good, acr: 'pwd' })), [
      401,
      'insufficient_user_authentication',
    ])
  }
  assert.equal(shop.exchanges.length, 1)
})

test('an authentication that was recent is judged anew on each use of what is kept', async (t) => {
  const { ask, shop } = await setting(t, { maxAge: '10s' })
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const token = await shop.token({ auth_time: Math.floor(Date.now() / 1_000) })
  assert.deepEqual(await ask(token), [200, shop.url])
  assert.deepEqual(await ask(token), [200, shop.url])
  t.mock.timers.tick(17_000)
  assert.deepEqual(await ask(token), [401, 'insufficient_user_authentication'])
  assert.equal(shop.exchanges.length, 1)
})

/** At Auth0, what is spent on a token that it never exchanges is a part of a small budget. */
async function auth0(
  t: TestContext,
): Promise<{ readonly issuer: TestIssuer; readonly ask: (token: string) => Promise<unknown> }> {
  const [issuer, upstream] = [await startIssuer(t), await startUpstream(t)]
  const gateway = await startGateway(
    t,
    oneRoute({ issuer: issuer.url, upstream: upstream.origin, profile: 'auth0' }),
  )
  const ask = async (token: string): Promise<unknown> => {
    const answer = await fetch(`${gateway.origin}/orders`, bearer(token))
    const { code } = (await answer.json()) as { readonly code?: unknown }
    return code ?? answer.status
  }
  return { issuer, ask }
}

test("a client's own token is refused before Auth0 is asked, which exchanges users' alone", async (t) => {
  const { issuer, ask } = await auth0(t)
  const machine = { sub: 'job@clients', azp: 'job', gty: 'client-credentials' }
  assert.equal(await ask(await issuer.token(machine)), 'not_permitted')
  assert.equal(issuer.exchanges.length, 0)
  assert.equal(await ask(await issuer.token()), 200)
})

test('a chain of actors that Auth0 would refuse is refused before it is asked', async (t) => {
  const { issuer, ask } = await auth0(t)
  const three = { sub: 'a', act: { sub: 'b', act: { sub: 'c' } } }
  assert.equal(await ask(await issuer.token({ act: { sub: 'd', act: three } })), 'not_permitted')
  assert.equal(issuer.exchanges.length, 0)
  assert.equal(await ask(await issuer.token({ act: three })), 200)
})

test('a token that lets somebody else act is not exchanged by us (RFC 8693, section 4.4)', async (t) => {
  const { ask, shop } = await setting(t)
  assert.deepEqual(await ask(await shop.token({ may_act: { sub: 'partners' } })), [
    403,
    'not_permitted',
  ])
  assert.equal(shop.exchanges.length, 0)
  assert.deepEqual(await ask(await shop.token({ may_act: { sub: 'storefront' } })), [200, shop.url])
})
