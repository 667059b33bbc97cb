import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { ask, request } from '../attack/wire.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { claimsOf, oneRoute, startGateway, startUpstream, type Gateway } from '../system.ts'

interface Setting {
  readonly issuer: TestIssuer
  readonly gateway: Gateway
  readonly origin: string
  readonly token: string
}

async function start(t: TestContext, forwardAuth: object, exchange?: object): Promise<Setting> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const { routes, ...others } = oneRoute({ issuer: issuer.url, upstream: upstream.origin }) as {
    readonly routes: readonly object[]
  }
  const gateway = await startGateway(t, {
    ...others,
    routes: [{ ...routes[0], ...(exchange && { exchange }) }],
    endpoints: { forwardAuth: { listen: '127.0.0.1:0', ...forwardAuth } },
  })
  const token = await issuer.token()
  return { issuer, gateway, origin: gateway.forwardAuthOrigin!, token }
}

const ORIGINAL = ['X-Forwarded-Method: GET', 'X-Forwarded-Host: shop', 'X-Forwarded-Uri: /orders/1']

test('a proxy is told the issued token of the request that it was asked', async (t) => {
  const { issuer, gateway, origin, token } = await start(t, { original: 'headers' })
  const headers = [...ORIGINAL, `Authorization: Bearer ${token}`]
  const answer = await ask(t, origin, request('GET /forward-auth', headers))
  assert.equal(answer.status, 200)
  assert.equal(answer.body, '')
  assert.match(answer.head, /^cache-control: no-store\r$/im)
  const [, authorization] = /^authorization: (.*)\r$/im.exec(answer.head) ?? []
  assert.equal(claimsOf(authorization)['aud'], 'https://orders.internal')
  assert.equal(issuer.exchanges.length, 1)
  assert.match(gateway.logged(), /"method":"GET","path":"\/orders\/1","status":200,"result":"ok"/)
  assert.equal(gateway.logged().includes(authorization!.split('.')[2]!), false)
})

test('where the path names the request the method and what follows the prefix are its own', async (t) => {
  const { origin, token } = await start(t, { original: 'path' })
  const credentials = [`Authorization: Bearer ${token}`]
  const answer = await ask(t, origin, request('DELETE /forward-auth/orders/1?a=b', credentials))
  assert.equal(answer.status, 200)
  const other = await ask(t, origin, request('DELETE /forward-auth/other', credentials))
  assert.equal(other.code, 'route_not_found')
})

for (const [original, start_, headers] of [
  ['headers', 'GET /forward-auth/orders/1', ['X-Forwarded-Uri: /other']],
  ['path', 'GET /forward-auth/other', ['X-Forwarded-Uri: /orders/1']],
] as const) {
  test(`with original ${original} what the other way names is never consulted`, async (t) => {
    const { issuer, origin, token } = await start(t, { original })
    const lines = [...ORIGINAL.slice(0, 2), ...headers, `Authorization: Bearer ${token}`]
    const answer = await ask(t, origin, request(start_, lines))
    assert.notEqual(answer.status, 200)
    assert.equal(issuer.exchanges.length, 0)
  })
}

for (const [what, lines] of [
  ['no method', ORIGINAL.slice(1)],
  ['no host', [ORIGINAL[0], ORIGINAL[2]]],
  ['no target', ORIGINAL.slice(0, 2)],
  ['two methods', [...ORIGINAL, 'X-Forwarded-Method: POST']],
  ['two hosts', [...ORIGINAL, 'x-forwarded-host: other']],
  ['two targets', [...ORIGINAL, 'X-Forwarded-Uri: /orders/1']],
  ['a list of hosts', [ORIGINAL[0], 'X-Forwarded-Host: a, b', ORIGINAL[2]]],
  ['a method in lower case', ['X-Forwarded-Method: get', ...ORIGINAL.slice(1)]],
] as const) {
  test(`a proxy that tells ${what} is answered 403, whatever the request itself says`, async (t) => {
    const { issuer, origin, token } = await start(t, { original: 'headers' })
    const headers = [...(lines as readonly string[]), `Authorization: Bearer ${token}`]
    const answer = await ask(t, origin, request('GET /forward-auth', headers))
    assert.deepEqual([answer.status, answer.code], [403, 'not_permitted'])
    assert.equal(issuer.exchanges.length, 0)
  })
}

for (const uri of ['orders', '//orders', '/orders/../admin', '/orders%2f1', 'http://shop/orders']) {
  test(`the original target ${uri} is refused as it would be at the proxy's own door`, async (t) => {
    const { origin, token } = await start(t, { original: 'headers' })
    const headers = [
      ...ORIGINAL.slice(0, 2),
      `X-Forwarded-Uri: ${uri}`,
      `Authorization: Bearer ${token}`,
    ]
    const answer = await ask(t, origin, request('GET /forward-auth', headers))
    assert.deepEqual([answer.status, answer.code], [400, 'invalid_request_target'])
  })
}

test('who is not a trusted proxy gets no token, though it brings a good one', async (t) => {
  const { issuer, origin, token } = await start(t, {
    original: 'headers',
    trustedProxies: ['192.0.2.1/32'],
  })
  const headers = [...ORIGINAL, `Authorization: Bearer ${token}`]
  const answer = await ask(t, origin, request('GET /forward-auth', headers))
  assert.deepEqual([answer.status, answer.code], [403, 'not_permitted'])
  assert.equal(issuer.exchanges.length, 0)
})

test('a refusal brings the challenge that the caller is to see', async (t) => {
  const { origin, issuer } = await start(t, { original: 'headers' })
  const none = await ask(t, origin, request('GET /forward-auth', ORIGINAL))
  assert.deepEqual([none.status, none.code], [401, 'missing_token'])
  assert.match(none.head, /^www-authenticate: Bearer\r$/im)
  const weak = await issuer.token({ scope: 'write:orders' })
  const headers = [...ORIGINAL, `Authorization: Bearer ${weak}`]
  const answer = await ask(t, origin, request('GET /forward-auth', headers))
  assert.deepEqual([answer.status, answer.code], [403, 'insufficient_scope'])
  assert.match(answer.head, /^www-authenticate: .*scope="read:orders"/im)
})

test('a token for nobody is not answered as one: the caller would keep its own', async (t) => {
  const { origin, token } = await start(t, { original: 'headers' }, { grant: 'none' })
  const headers = [...ORIGINAL, `Authorization: Bearer ${token}`]
  const answer = await ask(t, origin, request('GET /forward-auth', headers))
  assert.deepEqual([answer.status, answer.code], [502, 'exchange_misconfigured'])
})

test('both doors share one cache', async (t) => {
  const { issuer, gateway, origin, token } = await start(t, { original: 'headers' })
  const headers = { authorization: `Bearer ${token}` }
  assert.equal((await fetch(`${gateway.origin}/orders/1`, { headers })).status, 200)
  const lines = [...ORIGINAL, `Authorization: Bearer ${token}`]
  assert.equal((await ask(t, origin, request('GET /forward-auth', lines))).status, 200)
  assert.equal(issuer.exchanges.length, 1)
})
