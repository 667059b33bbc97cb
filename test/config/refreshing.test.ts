import assert from 'node:assert/strict'
import { test } from 'node:test'
import { advice } from '../../src/config/advice.ts'
import { readConfig } from '../../src/config/load.ts'
import { changed, faultsOf, told } from './given.ts'

const REDEEMING = {
  grant: 'refresh-token',
  audience: 'https://orders.internal',
  scopes: ['orders:read'],
  refreshTokenHeader: 'X-Refresh-Token',
  returnRefreshToken: true,
  client: { id: 'web', secret: 'the secret of the web client' },
}
const RENEWED = { audience: 'stock', scopes: ['read'], renew: 'refresh-token' }

/** Of the first route, with profile `auth0`. */
function redeeming(changes: object = {}): object {
  return changed({ 'routes[0].exchange': { ...REDEEMING, ...changes } })
}

/** Of the second route. */
function routeAt(profile: string, exchange: object): object {
  return changed({ 'issuers.other.profile': profile, 'routes[1].exchange': exchange })
}

test('a route that redeems names the client, the header, and what becomes of a rotated token', () => {
  const { exchange } = readConfig(redeeming(), { environment: {} }).routes[0]!

  assert.ok(exchange.grant === 'refresh-token')
  assert.equal(exchange.refreshTokenHeader, 'x-refresh-token')
  assert.equal(exchange.returnRefreshToken, true)
  assert.deepEqual(exchange.client, {
    ...{ id: 'web', method: 'client_secret_post' },
    secret: 'the secret of the web client',
  })
})

for (const [what, changes, at, message] of [
  ['a header', { refreshTokenHeader: undefined }, '', /needs a `refreshTokenHeader`/],
  ['a client', { client: undefined }, '', /needs a `client`/],
  ['credentials', { client: { id: 'web' } }, '.client.secret', /is required/],
  ['a target', { audience: undefined }, '', /needs an `audience`/],
  ['a way back', { returnRefreshToken: undefined }, '', /needs `returnRefreshToken: true`, or/],
  ['a way back', { returnRefreshToken: false }, '', /needs `returnRefreshToken: true`, or/],
] as const) {
  test(`without ${what} (${JSON.stringify(changes)}) nothing is redeemed`, () => {
    const faults = faultsOf(redeeming(changes))
    assert.deepEqual(
      faults.map(({ path }) => path),
      [`routes[0].exchange${at}`],
    )
    assert.match(faults[0]!.message, message)
  })
}

test('tokens that do not rotate need no way back, and have none', () => {
  const still = { refreshTokenRotation: false }
  assert.deepEqual(told(faultsOf(redeeming({ ...still, returnRefreshToken: undefined }))), [])
  assert.deepEqual(told(faultsOf(redeeming(still))), [
    'routes[0].exchange.returnRefreshToken: is of no use with `refreshTokenRotation: false`: nothing replaces the token',
  ])
})

for (const header of [
  'authorization',
  'Cookie',
  'DPoP',
  'X-Forwarded-Host',
  'content-type',
  'te',
]) {
  test(`a refresh token cannot come as ${header}`, () => {
    const faults = faultsOf(redeeming({ refreshTokenHeader: header }))
    assert.deepEqual(
      faults.map(({ path }) => path),
      ['routes[0].exchange.refreshTokenHeader'],
    )
  })
}

test('a header has one spelling: letters, digits and hyphens', () => {
  for (const header of ['x_refresh_token', 'x refresh', 'x-refresh:', '']) {
    assert.equal(faultsOf(redeeming({ refreshTokenHeader: header })).length, 1, header)
  }
  assert.deepEqual(told(faultsOf(redeeming({ refreshTokenHeader: 'Refresh2-Token' }))), [])
})

for (const profile of ['keycloak', 'okta', 'zitadel']) {
  test(`profile ${profile} gives for a refresh token what it was for: no route redeems there`, () => {
    const [fault, ...others] = faultsOf(routeAt(profile, REDEEMING))
    assert.deepEqual(others, [])
    assert.equal(fault?.path, 'routes[1].exchange.grant')
  })
}

test('the profiles whose refresh tokens are good for other targets', () => {
  const { audience: _, ...untargeted } = REDEEMING
  for (const [profile, exchange] of [
    ['auth0', REDEEMING],
    ['auth0-legacy', REDEEMING],
    ['rfc8693', { ...untargeted, resource: 'https://orders.internal' }],
    ['entra', { ...untargeted, scopes: ['api://orders/.default'] }],
  ] as const) {
    assert.deepEqual(told(faultsOf(routeAt(profile, exchange))), [], profile)
  }
})

test('one client cannot be of two issuers', () => {
  const faults = faultsOf(
    changed({
      'routes[0].exchange': REDEEMING,
      'routes[0].authenticate': { apis: ['storefront', 'backoffice'] },
    }),
  )
  assert.deepEqual(
    faults.map(({ path }) => path),
    ['routes[0].exchange.client'],
  )
})

test('an API whose tokens are only shown beside a refresh token needs no client of its own', () => {
  const input = changed({ 'apis.storefront.client': undefined }, redeeming())
  assert.deepEqual(told(faultsOf(input)), [])
})

for (const option of [
  'refreshTokenHeader',
  'returnRefreshToken',
  'refreshTokenRotation',
  'client',
]) {
  test(`\`${option}\` is of no use where nothing is redeemed`, () => {
    const value = { ...REDEEMING, refreshTokenRotation: true }[option]
    const faults = faultsOf(routeAt('rfc8693', { audience: 'stock', [option]: value }))
    assert.deepEqual(told(faults), [
      `routes[1].exchange.${option}: is of no use with \`grant: token-exchange\``,
    ])
  })
}

for (const [profile, exchange] of [
  ['auth0-legacy', RENEWED],
  ['rfc8693', RENEWED],
  ['keycloak', RENEWED],
  ['keycloak', { ...RENEWED, scopes: [] }],
  ['zitadel', RENEWED],
  ['entra', { scopes: ['api://stock/.default'], renew: 'refresh-token' }],
] as const) {
  test(`profile ${profile} renews ${JSON.stringify(exchange)}`, () => {
    assert.deepEqual(told(faultsOf(routeAt(profile, exchange))), [])
  })
}

for (const [profile, exchange, at, message] of [
  ['auth0', RENEWED, 'renew', /gives no refresh token for an exchange/],
  ['okta', RENEWED, 'renew', /gives no refresh token for an exchange/],
  ['rfc8693', { ...RENEWED, scopes: [] }, 'renew', /needs `scopes`/],
  ['rfc8693', { ...RENEWED, grant: 'client-credentials' }, 'renew', /is of no use with/],
  ['rfc8693', { ...RENEWED, renew: 'exchange' }, 'renew', /must be/],
  [
    'keycloak',
    { ...RENEWED, parameters: { requested_token_type: 'x' } },
    'parameters.requested_token_type',
    /is how profile `keycloak` is asked for a refresh token/,
  ],
] as const) {
  test(`profile ${profile} does not renew ${JSON.stringify(exchange)}`, () => {
    const faults = faultsOf(routeAt(profile, exchange))
    assert.deepEqual(
      faults.map(({ path }) => path),
      [`routes[1].exchange.${at}`],
    )
    assert.match(faults[0]!.message, message)
  })
}

test('no parameter replaces the refresh token, or leaves it out', () => {
  for (const value of ['mine', null]) {
    const faults = faultsOf(redeeming({ parameters: { refresh_token: value } }))
    assert.deepEqual(
      faults.map(({ path }) => path),
      ['routes[0].exchange.parameters.refresh_token'],
    )
  }
})

test('several replicas that redeem are worth a word', () => {
  const advised = (input: object): readonly string[] =>
    advice(readConfig(input, { environment: {} })).map(({ path }) => path)
  const path = 'routes[0].exchange.refreshTokenHeader'
  const still = { refreshTokenRotation: false, returnRefreshToken: undefined }

  assert.ok(advised(changed({ 'server.replicas': 2 }, redeeming())).includes(path))
  assert.ok(!advised(redeeming()).includes(path))
  assert.ok(!advised(changed({ 'server.replicas': 2 }, redeeming(still))).includes(path))
})
