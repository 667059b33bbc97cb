import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../../src/config/load.ts'
import { changed, faultsOf, told } from './given.ts'

const AT = 'apis.storefront.resource'

for (const [resource, metadataUri] of [
  ['https://gateway.example/orders', '/.well-known/oauth-protected-resource/orders'],
  ['https://gateway.example/a/b', '/.well-known/oauth-protected-resource/a/b'],
  ['https://gateway.example', '/.well-known/oauth-protected-resource'],
  ['https://gateway.example/', '/.well-known/oauth-protected-resource'],
] as const) {
  test(`the metadata of ${resource} is found between its host and its path`, () => {
    const { apis } = readConfig(changed({ [AT]: resource }))
    assert.deepEqual(apis[0]?.resource, {
      identifier: resource,
      metadataUri: `https://gateway.example${metadataUri}`,
      scopesSupported: undefined,
    })
  })
}

for (const [resource, message] of [
  ['https://gateway.example/orders?x', 'must not hold a query'],
  ['https://gateway.example/orders#x', 'must not hold a fragment'],
  ['https://a@gateway.example/orders', 'must not hold credentials'],
  ['https://GATEWAY.example/orders', 'must be written `https://gateway.example/orders`'],
  ['https://gateway.example/a/../b', 'must be written `https://gateway.example/b`'],
  ['https://gateway.example/orders/', 'has a path that must not end with `/`'],
  ['https://gateway.example//orders', 'has a path that must not hold an empty segment'],
  ['orders', 'must be an `https:` URL'],
  ['https://other.example/orders', 'must stand under `server.publicOrigin`'],
  ['https://gateway.example:8443/orders', 'must stand under `server.publicOrigin`'],
  ['http://gateway.example/orders', 'must stand under `server.publicOrigin`'],
] as const) {
  test(`${resource} is no resource`, () => {
    const [fault, ...others] = told(faultsOf(changed({ [AT]: resource })))
    assert.deepEqual(others, [])
    assert.ok(fault?.startsWith(`${AT}: ${message}`), fault)
  })
}

test('a resource needs a public origin, and may stand under any of several', () => {
  const resource = 'https://two.example/orders'
  const origins = ['https://one.example', 'https://two.example']
  assert.deepEqual(faultsOf(changed({ [AT]: resource, 'server.publicOrigin': origins })), [])
  const none = told(faultsOf(changed({ [AT]: resource, 'server.publicOrigin': undefined })))
  assert.equal(none.length, 1)
  assert.ok(none[0]?.startsWith(`${AT}: needs \`server.publicOrigin\``))
})

test('two APIs have two resources, however they are written', () => {
  const other = 'apis.backoffice.resource'
  const [one, two] = ['https://gateway.example', 'https://gateway.example/']
  assert.deepEqual(told(faultsOf(changed({ [AT]: one, [other]: two }))), [
    `${other}: repeats the resource of \`apis.storefront\``,
  ])
  assert.deepEqual(faultsOf(changed({ [AT]: one, [other]: `${two}stock` })), [])
})

for (const [path, isFree] of [
  ['/.well-known/oauth-protected-resource', false],
  ['/.well-known/oauth-protected-resource/orders', false],
  ['/.well-known/oauth-protected-resources', true],
  ['/.well-known', true],
] as const) {
  test(`a route ${isFree ? 'may' : 'must not'} have the path ${path}`, () => {
    const faults = told(faultsOf(changed({ 'routes[1].match.path': path })))
    const expected =
      'routes[1].match.path: is where the metadata of APIs stands (RFC 9728), which needs no token'
    assert.deepEqual(faults, isFree ? [] : [expected])
  })
}

test('scopes are published with a resource, and nowhere else', () => {
  const scopes = { 'apis.storefront.scopesSupported': ['read:orders'] }
  assert.deepEqual(told(faultsOf(changed(scopes))), [
    'apis.storefront.scopesSupported: is of no use without a `resource`',
  ])
  assert.deepEqual(faultsOf(changed({ ...scopes, [AT]: 'https://gateway.example' })), [])
})
