import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AuthorizeConfig } from '../../src/config/authorize.ts'
import { readConfig } from '../../src/config/load.ts'
import { changed, faultsOf, told } from './given.ts'

/** What the first route asks for. Its API is of profile `auth0`, unless that is changed. */
function asked(
  authorize: object,
  changes: Readonly<Record<string, unknown>> = {},
): AuthorizeConfig {
  const input = changed({ 'routes[0].authorize': authorize, ...changes })
  return readConfig(input, { environment: {} }).routes[0]!.authorize
}

function faults(authorize: object, changes: Readonly<Record<string, unknown>> = {}): unknown {
  return told(faultsOf(changed({ 'routes[0].authorize': authorize, ...changes })))
}

const AT = 'routes[0].authorize'

test('every condition of a route becomes what the stage reads', () => {
  const { assumed: _, ...read } = asked({
    scopes: ['a'],
    anyScope: ['b', 'c'],
    permissions: ['p'],
    subject: 'user',
    clients: ['spa'],
    organizations: ['org_1'],
    claims: [
      { claim: 'https://x.example/a.b', equals: 'c' },
      { claim: ['realm_access', 'roles'], contains: 'editor' },
      { claim: 'groups', contains: ['x', 7] },
      { claim: 'tier', oneOf: ['gold', 1, true] },
      { claim: 'blocked', exists: false },
    ],
    authorizationDetails: ['payment'],
    actors: { allow: ['gateway'], required: true, maxDepth: 2 },
    mayAct: 'require',
    acrValues: ['gold', 'urn:x:silver'],
    maxAge: '5m',
  })
  assert.deepEqual(read, {
    scopes: ['a'],
    anyScope: ['b', 'c'],
    permissions: ['p'],
    subject: 'user',
    clients: ['spa'],
    organizations: ['org_1'],
    claims: [
      { claim: ['https://x.example/a.b'], test: 'oneOf', values: ['c'] },
      { claim: ['realm_access', 'roles'], test: 'contains', values: ['editor'] },
      { claim: ['groups'], test: 'contains', values: ['x', 7] },
      { claim: ['tier'], test: 'oneOf', values: ['gold', 1, true] },
      { claim: ['blocked'], test: 'exists', exists: false },
    ],
    authorizationDetails: ['payment'],
    actors: { allow: ['gateway'], required: true, maxDepth: 2 },
    mayAct: 'require',
    acrValues: ['gold', 'urn:x:silver'],
    maxAgeMs: 300_000,
  })
})

test('what a claim may be is also false and zero, and no text is a number', () => {
  const { claims } = asked({
    claims: [
      { claim: 'a', equals: false },
      { claim: 'b', equals: 0 },
      { claim: 'c', equals: '0' },
    ],
  })
  assert.deepEqual(
    claims.map((condition) => (condition.test === 'oneOf' ? condition.values : [])),
    [[false], [0], ['0']],
  )
})

for (const [authorize, fault] of [
  [
    { claims: [{ claim: 'a' }] },
    'claims[0]: needs one of `equals`, `oneOf`, `contains` and `exists`',
  ],
  [
    { claims: [{ claim: 'a', equals: 'b', exists: true }] },
    'claims[0].exists: stands beside `equals`: write two entries',
  ],
  [{ claims: [{ claim: '', equals: 'b' }] }, 'claims[0].claim: must not be empty'],
  [{ claims: [{ claim: [], equals: 'b' }] }, 'claims[0].claim: must hold at least one entry'],
  [{ claims: [{ equals: 'b' }] }, 'claims[0].claim: is required'],
  [{ claims: [{ claim: 'a', oneOf: [] }] }, 'claims[0].oneOf: must hold at least one entry'],
  [
    { claims: [{ claim: 'a', equals: { b: 1 } }] },
    'claims[0].equals: must be text, a number, `true` or `false`',
  ],
  [
    { claims: [{ claim: 'a', equals: 2 ** 53 }] },
    'claims[0].equals: must be a number that can be told from its neighbours: below 2^53',
  ],
  [{ clients: [] }, 'clients: must hold at least one entry'],
  [{ organizations: [] }, 'organizations: must hold at least one entry'],
  [{ acrValues: ['two words'] }, 'acrValues[0]: must be a single value, without spaces'],
  [{ maxAge: '1500ms' }, 'maxAge: must be whole seconds'],
  [
    { subject: 'client', maxAge: '5m' },
    'maxAge: can never hold with `subject: client`: a client is no user',
  ],
  [
    { subject: 'client', acrValues: ['gold'] },
    'acrValues: can never hold with `subject: client`: a client is no user',
  ],
  [
    { actors: { maxDepth: 0, allow: ['a'] } },
    'actors.maxDepth: is 0: nobody may act, whom else `actors` names',
  ],
  [{ actors: { allow: [] } }, 'actors.allow: must hold at least one entry'],
] as const) {
  test(`${JSON.stringify(authorize)} is refused`, () => {
    assert.deepEqual(faults(authorize), [`${AT}.${fault}`])
  })
}

test('whom a token speaks for is `user` where the issuer exchanges only those, and `any` elsewhere', () => {
  const profile = (name: string) => ({ 'issuers.tenant.profile': name })
  const entra = { exchange: { scopes: ['api://a/.default'] } }
  assert.equal(asked({}).subject, 'user')
  assert.equal(asked({}, profile('auth0-legacy')).subject, 'user')
  assert.equal(
    asked({}, { ...profile('entra'), 'routes[0].exchange': entra.exchange }).subject,
    'user',
  )
  for (const name of ['rfc8693', 'keycloak', 'okta', 'zitadel']) {
    assert.equal(asked({}, profile(name)).subject, 'any')
  }
  assert.equal(asked({ subject: 'any' }).subject, 'any')
})

test('where nothing is exchanged for the subject nothing is assumed of it', () => {
  for (const exchange of [
    { grant: 'none' },
    { grant: 'passthrough', because: 'it is ours' },
    { grant: 'client-credentials', audience: 'a' },
  ]) {
    const { subject, actors, mayAct, assumed } = asked({}, { 'routes[0].exchange': exchange })
    assert.deepEqual([subject, actors.maxDepth, mayAct], ['any', undefined, 'ignore'])
    assert.deepEqual(assumed, { subject: false, maxDepth: false })
    assert.deepEqual(faults({ mayAct: 'require' }, { 'routes[0].exchange': exchange }), [
      `${AT}.mayAct: is of no use with \`grant: ${exchange.grant}\`: nobody becomes an actor`,
    ])
  }
})

test('a chain of actors that Auth0 refuses is not sent to it, unless the route knows better', () => {
  assert.equal(asked({}).actors.maxDepth, 3)
  assert.equal(asked({ actors: { maxDepth: 9 } }).actors.maxDepth, 9)
  assert.equal(asked({ actors: { allow: ['a'] } }).actors.maxDepth, 3)
  assert.equal(asked({}, { 'issuers.tenant.profile': 'rfc8693' }).actors.maxDepth, undefined)
})

test('tokens that do not tell users from clients cannot be asked to', () => {
  const zitadel = { 'issuers.tenant.profile': 'zitadel' }
  assert.deepEqual(faults({ subject: 'any' }, zitadel), [])
  for (const subject of ['user', 'client']) {
    assert.deepEqual(faults({ subject }, zitadel), [
      `${AT}.subject: must be \`any\`: tokens of profile \`zitadel\` do not tell users from clients`,
    ])
  }
})

function routeOf(authenticate: object, changes: Readonly<Record<string, unknown>> = {}): object {
  const second = {
    issuer: 'other',
    audience: 'https://second.example',
    client: { id: 'second', secret: 'second secret' },
  }
  return changed({ 'apis.second': second, 'routes[0].authenticate': authenticate, ...changes })
}

test('a route takes the tokens of all APIs that it names, in their order', () => {
  const input = routeOf({ apis: ['second', 'storefront'] })
  const { routes, apis } = readConfig(input, { environment: {} })
  const named = routes[0]!.authenticate.apis
  assert.deepEqual(
    named.map(({ name }) => name),
    ['second', 'storefront'],
  )
  for (const api of named) assert.ok(apis.includes(api))
})

for (const [authenticate, fault, changes] of [
  [{}, 'authenticate: needs an `api`, or a list of them in `apis`', {}],
  [
    { api: 'storefront', apis: ['second'] },
    'authenticate.apis: stands beside `api`: name them all in `apis`',
    {},
  ],
  [{ apis: [] }, 'authenticate.apis: must hold at least one entry', {}],
  [
    { apis: ['storefront', 'secnd'] },
    'authenticate.apis[1]: there is no API `secnd`, did you mean `second`?',
    {},
  ],
  [{ apis: ['second', 'second'] }, 'authenticate.apis[1]: repeats `second`', {}],
  [
    { apis: ['storefront', 'second'] },
    'authenticate.apis[1]: cannot be told from `storefront`: same issuer, same audience',
    { 'apis.second.issuer': 'tenant', 'apis.second.audience': 'https://storefront.example' },
  ],
  [
    { apis: ['storefront', 'second'] },
    'authenticate.apis[1]: names an API without a `client`, which the exchange needs',
    { 'apis.second.client': undefined },
  ],
  [
    { apis: ['storefront', 'second'] },
    'exchange: cannot be one for all its APIs: some take `token-exchange`, some `jwt-bearer`',
    { 'issuers.other.profile': 'entra', 'routes[1].exchange': { scopes: ['a'] } },
  ],
  [
    { apis: ['second', 'storefront'] },
    'exchange.resource: profile `auth0` knows no resource indicators',
    { 'routes[0].exchange.resource': 'https://orders.internal' },
  ],
] as const) {
  test(`${JSON.stringify(authenticate)} with ${JSON.stringify(changes)} is refused`, () => {
    const faults = told(faultsOf(routeOf(authenticate, changes)))
    assert.deepEqual(
      faults.filter((one) => one.startsWith('routes[0]')),
      [`routes[0].${fault}`],
    )
  })
}

test('two APIs of one audience at two issuers can be told apart, and so can two audiences at one', () => {
  const same = { 'apis.second.audience': 'https://storefront.example' }
  assert.deepEqual(faultsOf(routeOf({ apis: ['storefront', 'second'] }, same)), [])
  const near = { 'apis.second.issuer': 'tenant' }
  assert.deepEqual(faultsOf(routeOf({ apis: ['storefront', 'second'] }, near)), [])
})

test('what one of several issuers exchanges for users alone is asked for users alone', () => {
  const input = routeOf({ apis: ['second', 'storefront'] })
  const { authorize } = readConfig(input, { environment: {} }).routes[0]!
  assert.deepEqual([authorize.subject, authorize.actors.maxDepth], ['user', 3])
})
