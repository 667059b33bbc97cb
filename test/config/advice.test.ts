import assert from 'node:assert/strict'
import { test } from 'node:test'
import { advice } from '../../src/config/advice.ts'
import { readConfig } from '../../src/config/load.ts'
import { changed, valid } from './given.ts'

/** The second route of the valid configuration asks for nothing, on purpose. */
const QUIET = changed({
  'routes[1].authorize': { scopes: ['read:stock'] },
  'routes[1].exchange.scopes': ['stock:read'],
})

function advised(
  changes: Readonly<Record<string, unknown>>,
  base: object = QUIET,
): readonly string[] {
  return advice(readConfig(changed(changes, base), { environment: {} })).map(({ path }) => path)
}

test('a configuration that says everything is served without advice', () => {
  assert.deepEqual(advised({}), [])
})

for (const [path, changes] of [
  ['issuers.tenant.budget', { 'issuers.tenant.budget': undefined }],
  ['issuers.tenant.issuer', { 'issuers.tenant.issuer': 'https://tenant.example' }],
  ['issuers.tenant.dangerouslyAllowHttp', { 'issuers.tenant.dangerouslyAllowHttp': true }],
  ['issuers.third', { 'issuers.third': { issuer: 'https://third.example', profile: 'rfc8693' } }],
  ['apis.third', { 'apis.third': { issuer: 'other', audience: 'third' } }],
  ['apis.storefront.introspection', { 'apis.storefront.introspection': true }],
  ['server.trustedProxies[0]', { 'server.trustedProxies': ['0.0.0.0/0'] }],
  ['server.trustedProxies[0]', { 'server.trustedProxies': ['::/0'] }],
  [
    'endpoints.forwardAuth.trustedProxies[1]',
    { 'endpoints.forwardAuth': { original: 'path', trustedProxies: ['10.0.0.1/32', '0.0.0.0/0'] } },
  ],
  ['admin.listen', { admin: { listen: '10.0.0.1:1', token: 'the-token' } }],
  [
    'endpoints.forwardAuth.listen',
    { 'endpoints.forwardAuth': { original: 'path', listen: '10.0.0.1:1' } },
  ],
  ['endpoints.token.listen', { 'endpoints.token': { routes: ['orders'], listen: '10.0.0.1:1' } }],
  [
    'apis.storefront.proofOfPossession',
    {
      'server.trustedProxies': [],
      'apis.storefront.proofOfPossession': { mechanism: 'mtls' },
    },
  ],
  ['routes[0].authorize', { 'routes[0].authorize': undefined }],
  ['routes[0].match.path', { 'routes[0].match.path': '/orders/*' }],
  ['routes[0].match.path', { 'routes[0].match.path': '/orders/:id/items' }],
  ['routes[0].exchange.scopes', { 'routes[0].exchange.scopes': [] }],
  [
    'routes[0].exchange.expectAudience',
    { 'routes[0].exchange': { grant: 'passthrough', because: 'it is ours' } },
  ],
  [
    'routes[1].exchange.expectAudience',
    { 'routes[1].exchange': { grant: 'client-credentials', scopes: ['stock:read'] } },
  ],
] as const) {
  test(`${JSON.stringify(changes)} is worth a word`, () => {
    assert.deepEqual(advised(changes), [path])
  })
}

test('the smallest budget is not remarked upon where it was chosen', () => {
  assert.deepEqual(advised({ 'issuers.tenant.budget': { rate: 2 } }), [])
})

for (const exchange of [
  { grant: 'none' },
  { grant: 'passthrough', because: 'it is ours', expectAudience: 'https://orders.internal' },
  { grant: 'client-credentials', scopes: ['a'], audience: 'a' },
]) {
  test(`${JSON.stringify(exchange)} leaves nothing to say`, () => {
    assert.deepEqual(advised({ 'routes[0].exchange': exchange }), [])
  })
}

/** A route below `/orders`, which needs `read:orders`. */
function below(authorize: object, more: Readonly<Record<string, unknown>> = {}): object {
  return changed(
    {
      'routes[1].match.path': '/orders/all',
      'routes[1].proxy.upstream': 'http://127.0.0.1:9001',
      'routes[1].authorize': authorize,
      ...more,
    },
    QUIET,
  )
}

test('a route that asks for less than the one that holds its path is worth a word', () => {
  assert.deepEqual(advised({}, below({ scopes: ['other'] })), ['routes[1].authorize'])
  assert.deepEqual(advised({}, below({ anyScope: ['read:orders', 'other'] })), [
    'routes[1].authorize',
  ])
  assert.deepEqual(advised({}, below({ scopes: ['other', 'read:orders'] })), [])
})

test('it is not where the upstream or the path is another', () => {
  const weaker = below({ scopes: ['other'] })
  assert.deepEqual(advised({ 'routes[1].proxy.upstream': 'http://127.0.0.1:9' }, weaker), [])
  assert.deepEqual(advised({ 'routes[1].match.path': '/orders-all' }, weaker), [])
  assert.deepEqual(advised({ 'routes[0].match.path': '/' }, weaker), ['routes[1].authorize'])
})

function claim(condition: object): object {
  return { claim: 'x', ...condition }
}

for (const [outer, inner, isWeaker] of [
  [{ anyScope: ['a', 'b'] }, { scopes: ['a'] }, false],
  [{ anyScope: ['a', 'b'] }, { anyScope: ['b'] }, false],
  [{ anyScope: ['a', 'b'] }, { anyScope: ['b', 'c'] }, true],
  [{ anyScope: ['a', 'b'] }, { scopes: ['c'] }, true],
  [{ permissions: ['p'] }, { permissions: ['p', 'q'] }, false],
  [{ permissions: ['p'] }, { scopes: ['p'] }, true],
  [{ scopes: ['a'], subject: 'user' }, { scopes: ['a'], subject: 'user' }, false],
  [{ scopes: ['a'], subject: 'user' }, { scopes: ['a'] }, true],
  [{ scopes: ['a'] }, { scopes: ['a'], subject: 'client' }, false],
  [{ clients: ['a', 'b'] }, { clients: ['a'] }, false],
  [{ clients: ['a'] }, { clients: ['a', 'b'] }, true],
  [{ clients: ['a'] }, { scopes: ['a'] }, true],
  [{ organizations: ['a'] }, { organizations: ['a'] }, false],
  [{ organizations: ['a'] }, { organizations: ['b'] }, true],
  [{ claims: [claim({ oneOf: ['a', 'b'] })] }, { claims: [claim({ equals: 'a' })] }, false],
  [{ claims: [claim({ equals: 'a' })] }, { claims: [claim({ oneOf: ['a', 'b'] })] }, true],
  [{ claims: [claim({ contains: 'a' })] }, { claims: [claim({ contains: ['a', 'b'] })] }, false],
  [{ claims: [claim({ contains: ['a', 'b'] })] }, { claims: [claim({ contains: 'a' })] }, true],
  [{ claims: [claim({ contains: 'a' })] }, { claims: [claim({ equals: 'a' })] }, true],
  [{ claims: [claim({ exists: true })] }, { claims: [claim({ equals: 'a' })] }, false],
  [{ claims: [claim({ exists: false })] }, { claims: [claim({ equals: 'a' })] }, true],
  [{ claims: [claim({ exists: false })] }, { claims: [claim({ exists: false })] }, false],
  [{ claims: [claim({ equals: 'a' })] }, { claims: [{ claim: ['y'], equals: 'a' }] }, true],
  [{ authorizationDetails: ['a'] }, { authorizationDetails: ['a', 'b'] }, false],
  [{ authorizationDetails: ['a'] }, { scopes: ['a'] }, true],
  [{ actors: { allow: ['a', 'b'] } }, { actors: { allow: ['a'] } }, false],
  [{ actors: { allow: ['a'] } }, { actors: { allow: ['a', 'b'] } }, true],
  [{ actors: { required: true } }, { actors: { required: true, allow: ['a'] } }, false],
  [{ actors: { required: true } }, { actors: { allow: ['a'] } }, true],
  [{ scopes: ['a'], actors: { maxDepth: 2 } }, { scopes: ['a'], actors: { maxDepth: 1 } }, false],
  [{ scopes: ['a'], actors: { maxDepth: 1 } }, { scopes: ['a'], actors: { maxDepth: 2 } }, true],
  [{ acrValues: ['a', 'b'] }, { acrValues: ['b'] }, false],
  [{ acrValues: ['a'] }, { acrValues: ['a', 'b'] }, true],
  [{ maxAge: '5m' }, { maxAge: '1m' }, false],
  [{ maxAge: '1m' }, { maxAge: '5m' }, true],
  [{ maxAge: '1m' }, { scopes: ['a'] }, true],
  [{ scopes: ['a'], mayAct: 'require' }, { scopes: ['a'] }, false],
] as const) {
  const asked = `${JSON.stringify(inner)} below ${JSON.stringify(outer)}`
  test(`${asked} is ${isWeaker ? '' : 'not '}weaker`, () => {
    const expected = isWeaker ? ['routes[1].authorize'] : []
    assert.deepEqual(advised({ 'routes[0].authorize': outer }, below(inner)), expected)
  })
}

for (const [authorize, isNothing] of [
  [{ subject: 'user' }, true],
  [{ mayAct: 'require' }, true],
  [{ actors: { maxDepth: 1 } }, true],
  [{ clients: ['spa'] }, false],
  [{ claims: [claim({ exists: true })] }, false],
  [{ maxAge: '5m' }, false],
  [{ actors: { required: true } }, false],
] as const) {
  test(`${JSON.stringify(authorize)} alone is ${isNothing ? '' : 'not '}next to nothing`, () => {
    const expected = isNothing ? ['routes[0].authorize'] : []
    assert.deepEqual(advised({ 'routes[0].authorize': authorize }), expected)
  })
}

for (const [authorize, ignored, isJudged] of [
  [{ claims: [{ claim: 'tier', equals: 'gold' }] }, 'tier', true],
  [{ claims: [{ claim: ['tier', 'name'], equals: 'gold' }] }, 'tier', true],
  [{ claims: [{ claim: ['tier', 'name'], equals: 'gold' }] }, 'name', false],
  [{ clients: ['spa'] }, 'azp', true],
  [{ scopes: ['a'] }, 'scope', true],
  [{ scopes: ['a'] }, 'auth_time', false],
  [{ scopes: ['a'], maxAge: '5m' }, 'auth_time', true],
  [{ scopes: ['a'], acrValues: ['gold'] }, 'acr', true],
  [{ scopes: ['a'] }, 'sid', false],
] as const) {
  const said = `to ignore ${ignored} where ${JSON.stringify(authorize)} is asked`
  test(`${said} is ${isJudged ? '' : 'not '}worth a word`, () => {
    const exchange = { audience: 'a', scopes: ['b'], key: 'context', ignoreClaims: [ignored] }
    const changes = { 'routes[0].authorize': authorize, 'routes[0].exchange': exchange }
    assert.deepEqual(advised(changes), isJudged ? ['routes[0].exchange.ignoreClaims[0]'] : [])
  })
}

test('the advice of the configuration that all tests change is what it lacks', () => {
  assert.deepEqual(advised({}, valid()), ['routes[1].authorize', 'routes[1].exchange.scopes'])
})

for (const changes of [
  { 'apis.storefront.proofOfPossession': { mechanism: 'mtls' } },
  { 'apis.storefront.proofOfPossession': { mechanism: 'dpop' }, 'server.trustedProxies': [] },
]) {
  test(`${JSON.stringify(changes)} can be met`, () => {
    assert.deepEqual(advised(changes), [])
  })
}
