import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { advice } from '../../src/config/advice.ts'
import { readConfig } from '../../src/config/load.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { changed, faultsOf, told } from './given.ts'

const pem = (curve: string): string =>
  generateKeyPairSync('ec', { namedCurve: curve }).privateKey.export({
    ...{ type: 'pkcs8', format: 'pem' },
  }) as string
const KEY = pem('P-256')

const faults = (changes: Readonly<Record<string, unknown>>): readonly string[] =>
  told(faultsOf(changed(changes)))

test('a route may ask for tokens that are bound to a key, of the client or of the process', () => {
  const bound = { 'routes[0].exchange.bound': 'dpop' }
  assert.deepEqual(faults(bound), [])
  const given = changed({ ...bound, 'apis.storefront.client.dpopKey': KEY })
  const { apis, routes } = readConfig(given, { environment: {} })
  assert.deepEqual(apis[0]?.client?.dpopKey, { pem: KEY })
  assert.equal(routes[0]?.exchange.bound, 'dpop')
  assert.equal(routes[1]?.exchange.bound, undefined)
})

test('a key that no route binds tokens to is refused, where one that is used is taken', () => {
  const key = { 'apis.storefront.client.dpopKey': KEY }
  assert.deepEqual(faults(key), [
    'apis.storefront.client.dpopKey: is of no use without a route that asks for `bound: dpop`',
  ])
  // By another API's route it is not used.
  assert.equal(faults({ ...key, 'routes[1].exchange.bound': 'dpop' }).length, 1)
  assert.deepEqual(faults({ ...key, 'routes[0].exchange.bound': 'dpop' }), [])
})

for (const [what, key, message] of [
  ['of another curve', pem('P-384'), /must be an RSA key of 2048 bits or more, or one of P-256/],
  ['that is none', '-----BEGIN NOTHING-----', /must be a private key in PEM/],
  ['that cannot be read', '/nowhere/at/all', /cannot be read/],
] as const) {
  test(`a key ${what} binds nothing`, () => {
    const [fault, ...others] = faults({
      'routes[0].exchange.bound': 'dpop',
      'apis.storefront.client.dpopKey': key,
    })
    assert.match(fault ?? '', message)
    assert.ok(fault?.startsWith('apis.storefront.client.dpopKey: '))
    assert.deepEqual(others, [])
  })
}

for (const exchange of [
  { grant: 'none', bound: 'dpop' },
  { grant: 'passthrough', because: 'it is ours', bound: 'dpop' },
]) {
  test(`with ${exchange.grant} there is nothing to bind`, () => {
    assert.deepEqual(faults({ 'routes[0].exchange': exchange }), [
      `routes[0].exchange.bound: is of no use with \`grant: ${exchange.grant}\``,
    ])
  })
}

test(
  'tokens are bound to a certificate that the client has, and that TLS shows to the upstream',
  { skip: NO_OPENSSL },
  () => {
    const { certificate, key } = createAuthority().issue('gateway')
    const good = {
      'routes[0].exchange.bound': 'mtls',
      'routes[0].proxy.upstream': 'https://orders.internal',
      'apis.storefront.client.certificate': certificate,
      'apis.storefront.client.key': key,
    }
    assert.deepEqual(faults(good), [])
    const { client } = readConfig(changed(good), { environment: {} }).apis[0]!
    assert.deepEqual(client, {
      ...{ id: 'storefront-gateway', method: 'client_secret_post', secret: 'client secret' },
      ...{ certificate: { pem: certificate }, key: { pem: key } },
    })
    assert.match(
      faults({ ...good, 'routes[0].proxy.upstream': 'http://127.0.0.1:9001' }).join(),
      /^routes\[0\]\.proxy: must have an `https:` upstream/,
    )
    assert.match(
      faults({
        'routes[0].exchange.bound': 'mtls',
        'routes[0].proxy.upstream': 'https://orders.internal',
      }).join(),
      /^routes\[0\]\.exchange\.bound: needs a `certificate` and its `key` at the client of API `storefront`/,
    )
    assert.match(
      faults({ ...good, 'routes[0].exchange.bound': undefined }).join(),
      /^apis\.storefront\.client\.certificate: is of no use beside another way to authenticate/,
    )
  },
)

test('replicas that share no key are told', () => {
  const advised = (changes: object): readonly string[] =>
    advice(readConfig(changed({ ...changes }), { environment: {} }))
      .map(({ path }) => path)
      .filter((path) => path.endsWith('dpopKey'))
  const bound = { 'routes[0].exchange.bound': 'dpop' }
  assert.deepEqual(advised({ ...bound, 'server.replicas': 2 }), ['apis.storefront.client.dpopKey'])
  assert.deepEqual(advised(bound), [])
  assert.deepEqual(advised({ 'server.replicas': 2 }), [])
  const shared = { 'apis.storefront.client.dpopKey': KEY, 'server.replicas': 2 }
  assert.deepEqual(advised({ ...bound, ...shared }), [])
})
