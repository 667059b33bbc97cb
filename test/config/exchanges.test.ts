import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ExchangeConfig } from '../../src/config/config.ts'
import { readConfig } from '../../src/config/load.ts'
import { changed, faultsOf, told } from './given.ts'

/** The second route, of an issuer with this profile. */
function routeAt(profile: string, exchange: object): object {
  return changed({ 'issuers.other.profile': profile, 'routes[1].exchange': exchange })
}

function read(profile: string, exchange: object): ExchangeConfig {
  return readConfig(routeAt(profile, exchange), { environment: {} }).routes[1]!.exchange
}

const SCOPES = { scopes: ['api://stock/.default'] }
const AUDIENCE = { audience: 'stock' }
const BOTH = { audience: 'stock', scopes: ['read'] }

for (const [profile, good, bad, message] of [
  [
    'auth0-legacy',
    { ...BOTH, scopes: ['offline_access'] },
    { scopes: ['a'] },
    /needs an `audience`/,
  ],
  ['auth0-legacy', AUDIENCE, { audience: ['a', 'b'] }, /takes a single one/],
  ['auth0-legacy', AUDIENCE, { ...AUDIENCE, delegation: true }, /takes no actor token/],
  ['rfc8693', { resource: 'urn:stock' }, {}, /needs an `audience` or a `resource`/],
  ['rfc8693', AUDIENCE, { grant: 'jwt-bearer', ...AUDIENCE }, /takes one of `token-exchange`/],
  ['keycloak', { audience: ['a', 'b'] }, { resource: 'urn:a' }, /knows no resource indicators/],
  ['keycloak', AUDIENCE, { ...AUDIENCE, delegation: true }, /takes no actor token/],
  ['entra', SCOPES, { ...SCOPES, audience: 'a' }, /takes none: its target is named by `scopes`/],
  ['entra', { grant: 'jwt-bearer', ...SCOPES }, { expectAudience: 'a' }, /needs `scopes`/],
  ['entra', SCOPES, { grant: 'token-exchange', ...SCOPES }, /takes one of `jwt-bearer`/],
  ['entra', SCOPES, { ...SCOPES, resource: 'urn:a' }, /knows no resource indicators/],
  ['okta', BOTH, AUDIENCE, /needs `scopes` with profile `okta`/],
  ['okta', BOTH, { scopes: ['read'] }, /needs an `audience`/],
  ['okta', BOTH, { ...BOTH, scopes: ['openid'] }, /gives no `openid` for an exchange/],
  ['okta', BOTH, { ...BOTH, scopes: ['a', 'offline_access'] }, /gives no `offline_access`/],
  ['zitadel', { ...AUDIENCE, delegation: true }, { ...AUDIENCE, resource: 'urn:a' }, /no resource/],
] as const) {
  test(`profile ${profile} takes ${JSON.stringify(good)} and not ${JSON.stringify(bad)}`, () => {
    assert.deepEqual(told(faultsOf(routeAt(profile, good))), [])
    const faults = faultsOf(routeAt(profile, bad))
    assert.equal(faults.length, 1, told(faults).join('\n'))
    assert.match(faults[0]!.message, message)
  })
}

for (const [profile, exchange, grant] of [
  ['entra', SCOPES, 'jwt-bearer'],
  ['keycloak', AUDIENCE, 'token-exchange'],
  ['okta', BOTH, 'token-exchange'],
] as const) {
  test(`the grant of profile ${profile} is ${grant} unless the route says another`, () => {
    assert.equal(read(profile, exchange).grant, grant)
    assert.equal(
      read(profile, { ...exchange, grant: 'client-credentials' }).grant,
      'client-credentials',
    )
  })
}

for (const [profile, method] of [
  ['auth0', 'client_secret_post'],
  ['auth0-legacy', 'client_secret_post'],
  ['entra', 'client_secret_post'],
  ['rfc8693', 'client_secret_basic'],
  ['keycloak', 'client_secret_basic'],
  ['okta', 'client_secret_basic'],
  ['zitadel', 'client_secret_basic'],
] as const) {
  test(`a client with a secret uses ${method} with profile ${profile}`, () => {
    const input = routeAt(profile, { grant: 'none' })
    assert.equal(readConfig(input, { environment: {} }).apis[1]?.client?.method, method)
  })
}

test('a route that exchanges nothing needs no client, and one that does needs one', () => {
  const without = (exchange: object): object =>
    changed({ 'apis.backoffice.client': undefined }, routeAt('rfc8693', exchange))
  assert.deepEqual(told(faultsOf(without({ grant: 'none' }))), [])
  const passed = { grant: 'passthrough', because: 'it is the same service' }
  assert.deepEqual(told(faultsOf(without(passed))), [])
  assert.deepEqual(told(faultsOf(without(AUDIENCE))), [
    'routes[1].authenticate.api: names an API without a `client`, which the exchange needs',
  ])
})

test('a passthrough says why', () => {
  const exchange = read('rfc8693', { grant: 'passthrough', because: 'it is the same service' })
  assert.ok(exchange.grant === 'passthrough')
  assert.equal(exchange.because, 'it is the same service')
})

test('parameters are text, null and new names', () => {
  const parameters = { requested_issuer: 'a', scope: null, audience: { rename: 'client' } }
  assert.deepEqual(read('rfc8693', { ...AUDIENCE, parameters }).parameters, parameters)
})

for (const claim of ['sub', 'iss', 'oid', 'tid', 'org_id', 'act', 'cnf']) {
  test(`tokens that differ in ${claim} share no issued token, and may in a claim that says nothing of whose they are`, () => {
    const context = (ignored: string): object =>
      routeAt('rfc8693', { ...AUDIENCE, key: 'context', ignoreClaims: ['nonce', ignored] })
    assert.deepEqual(told(faultsOf(context('auth_time'))), [])
    assert.deepEqual(told(faultsOf(context(claim))), [
      `routes[1].exchange.ignoreClaims[1]: \`${claim}\` says whose a token is: one of them would be served another's`,
    ])
  })
}

test('claims are ignored where they count', () => {
  const ignoring = { ...AUDIENCE, ignoreClaims: ['nonce'] }
  assert.deepEqual(told(faultsOf(routeAt('rfc8693', { ...ignoring, key: 'context' }))), [])
  const renewed = { ...ignoring, scopes: ['read'], renew: 'refresh-token' }
  assert.deepEqual(told(faultsOf(routeAt('rfc8693', renewed))), [])
  assert.deepEqual(told(faultsOf(routeAt('rfc8693', ignoring))), [
    'routes[1].exchange.ignoreClaims: is of no use with `key: token`',
  ])
})
