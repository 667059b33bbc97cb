import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { readConfig } from '../../src/config/load.ts'
import { changed, faultsOf, told } from './given.ts'

const rsa = (modulusLength = 2_048): string =>
  generateKeyPairSync('rsa', { modulusLength }).privateKey.export({
    ...{ format: 'pem', type: 'pkcs8' },
  }) as string
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const [one, two] = [rsa(), rsa()]
const KEYS = 'apis.storefront.decryptionKeys'

const faults = (changes: Readonly<Record<string, unknown>>): readonly string[] =>
  told(faultsOf(changed(changes)))

test('decryption keys are PEM, each with the name that tokens call it by, or none', () => {
  const [api] = readConfig(changed({ [KEYS]: [one, { key: two, kid: 'two' }] })).apis
  assert.deepEqual(api?.decryptionKeys, [
    { material: { pem: one }, kid: undefined },
    { material: { pem: two }, kid: 'two' },
  ])
})

test('without them, tokens are not encrypted; without `introspection`, they are JWTs', () => {
  const [api] = readConfig(changed({})).apis
  assert.deepEqual([api?.decryptionKeys, api?.introspection], [undefined, undefined])
})

for (const [what, keys, expected] of [
  ['none', [], /must hold at least one entry/],
  ['nine', Array.from({ length: 9 }, () => one), /must be at most 8/],
  ['a short key', [rsa(1_024)], /must be an RSA key of 2048 bits or more/],
  [
    'a key of a curve',
    [ec.privateKey.export({ format: 'pem', type: 'pkcs8' })],
    /must be an RSA key/,
  ],
  ['a public key', [ec.publicKey.export({ format: 'pem', type: 'spki' })], /must be a private key/],
  ['a file that is not there', ['/nowhere/key.pem'], /names a file that cannot be read/],
  ['a name twice', [one, two].map((key) => ({ key, kid: 'one' })), /is repeated/],
  ['a name without a key', [{ kid: 'one' }], /key: is required/],
] as const) {
  test(`decryption keys with ${what} are refused where they stand, and not quoted`, () => {
    const [fault = '', ...others] = faults({ [KEYS]: keys })
    assert.match(fault, /^apis\.storefront\.decryptionKeys/)
    assert.match(fault, expected)
    assert.deepEqual(others, [])
    assert.doesNotMatch(fault, /BEGIN|nowhere/)
  })
}

test('`introspection` needs a client to ask as', () => {
  const asking = { 'apis.spare': { issuer: 'tenant', audience: 'spare', introspection: true } }
  assert.deepEqual(faults(asking), [
    'apis.spare.introspection: needs a `client`: who asks says who it is',
  ])
  const client = { id: 'spare', secret: 'client secret' }
  assert.deepEqual(faults({ ...asking, 'apis.spare': { ...asking['apis.spare'], client } }), [])
})

test('`introspectionEndpoint` is of use where an API asks', () => {
  const given = { 'issuers.tenant.introspectionEndpoint': 'https://tenant.example/introspect' }
  assert.deepEqual(faults(given), [
    'issuers.tenant.introspectionEndpoint: is of no use: no API of the issuer has `introspection`',
  ])
  assert.deepEqual(faults({ ...given, 'apis.storefront.introspection': true }), [])
  assert.deepEqual(
    faults({
      ...{ 'apis.storefront.introspection': true },
      'issuers.tenant.introspectionEndpoint': 'http://tenant.example/introspect',
    }),
    ['issuers.tenant.introspectionEndpoint: must be `https:`: `http:` is for loopback hosts'],
  )
})

test('a route takes encrypted tokens of one API, and opaque tokens of one', () => {
  const both = {
    'routes.0.authenticate': { apis: ['storefront', 'backoffice'] },
    'routes.0.exchange': { audience: 'https://orders.internal' },
  }
  const encrypted = { [KEYS]: [one], 'apis.backoffice.decryptionKeys': [two] }
  assert.deepEqual(
    faults({ ...both, ...encrypted }).filter((fault) => fault.includes('encrypted')),
    [
      'routes[0].authenticate.apis[1]: cannot be told from `storefront` by an encrypted token: both have `decryptionKeys`',
    ],
  )
  const opaque = { 'apis.storefront.introspection': true, 'apis.backoffice.introspection': true }
  assert.deepEqual(
    faults({ ...both, ...opaque }).filter((fault) => fault.includes('opaque')),
    [
      'routes[0].authenticate.apis[1]: cannot be told from `storefront` by an opaque token: both have `introspection`',
    ],
  )
  const oneEach = { [KEYS]: [one], 'apis.backoffice.introspection': true }
  assert.deepEqual(
    faults({ ...both, ...oneEach }).filter((fault) => /told from/.test(fault)),
    [],
  )
})
