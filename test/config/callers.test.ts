import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { test } from 'node:test'
import type { CallerKey, Config } from '../../src/config/config.ts'
import { loadConfig, readConfig } from '../../src/config/load.ts'
import { folder } from '../folder.ts'
import { changed, faultsOf, told } from './given.ts'

const pem = (key: KeyObject): string =>
  key.export({ type: key.type === 'private' ? 'pkcs8' : 'spki', format: 'pem' }) as string
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const RSA = pem(rsa.publicKey)
const EC = pem(ec.publicKey)
const P384 = pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey)
const SMALL = pem(generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey)
const WEAK = pem(generateKeyPairSync('rsa', { modulusLength: 2_048, publicExponent: 3 }).publicKey)

const SIGNING = { id: 'storefront-gateway', privateKey: pem(rsa.privateKey), keyId: 'one' }
const TOKEN = { listen: '127.0.0.1:0', routes: ['orders'] }

type Changes = Readonly<Record<string, unknown>>

/** The first API's client signs at the token endpoint of the first route, but for these changes. */
const signing = (token: object = {}, changes: Changes = {}): object =>
  changed({
    'apis.storefront.client': SIGNING,
    'endpoints.token': { ...TOKEN, ...token },
    ...changes,
  })
/** The first API's client has a secret, and its callers have keys of their own. */
const calling = (callers: object, changes: Changes = {}): object =>
  changed({ 'endpoints.token': { ...TOKEN, callers }, ...changes })

function keysOf({ endpoints, apis }: Config): readonly CallerKey[] | undefined {
  return endpoints.token?.callerKeys.get(apis[0]!)
}
const keysIn = (input: object): readonly CallerKey[] | undefined =>
  keysOf(readConfig(input, { environment: {} }))

test("where the client has a private key, its public half is the callers'", () => {
  assert.deepEqual(keysIn(signing()), [{ publicKey: RSA, algorithm: 'RS256', keyId: 'one' }])
  const client = { id: 'a', privateKey: SIGNING.privateKey, algorithm: 'PS256' }
  assert.deepEqual(keysIn(signing({}, { 'apis.storefront.client': client })), [
    { publicKey: RSA, algorithm: 'PS256', keyId: undefined },
  ])
})

test('callers that have keys of their own have no other', () => {
  const keys = [
    { publicKey: EC, keyId: 'two' },
    { publicKey: RSA, algorithm: 'PS256' },
  ]
  const expected = [
    { publicKey: EC, algorithm: 'ES256', keyId: 'two' },
    { publicKey: RSA, algorithm: 'PS256', keyId: undefined },
  ]
  assert.deepEqual(keysIn(calling({ storefront: keys })), expected)
  assert.deepEqual(keysIn(signing({ callers: { storefront: keys } })), expected)
})

test('where callers have the secret there are no keys, and with `clients: none` neither', () => {
  assert.equal(keysIn(changed({ 'endpoints.token': TOKEN })), undefined)
  assert.equal(keysIn(signing({ clients: 'none' })), undefined)
})

test('with keys of their own, callers can ask where the client has neither secret nor key', () => {
  const client = { id: 'storefront-gateway', assertionFile: 'package.json' }
  const changes = { 'apis.storefront.client': client }
  assert.deepEqual(faultsOf(calling({ storefront: [{ publicKey: EC }] }, changes)), [])
  const [fault] = told(faultsOf(changed({ ...changes, 'endpoints.token': TOKEN })))
  assert.match(
    fault ?? '',
    /^endpoints\.token\.routes\[0\]: needs an API whose client has a secret/,
  )
})

test('keys can be in files, which are watched, and come through from thread to thread', async (t) => {
  const client = { ...SIGNING, privateKey: 'own.pem' }
  const callers = { backoffice: [{ publicKey: 'caller.pem' }] }
  const routes = ['orders', 'stock']
  const input = signing({ routes, callers }, { 'apis.storefront.client': client })
  const at = await folder(t, {
    'behalf.yaml': JSON.stringify(input),
    'own.pem': SIGNING.privateKey,
    'caller.pem': EC,
  })
  const read: string[] = []
  const noteRead = (file: string): unknown => read.push(file)
  const file = join(at, 'behalf.yaml')
  const config = await loadConfig(file, { environment: {}, noteRead })
  for (const name of ['own.pem', 'caller.pem']) assert.ok(read.includes(join(at, name)), name)
  const copy = deserialize(serialize(config)) as Config
  assert.deepEqual(keysOf(copy), [{ publicKey: RSA, algorithm: 'RS256', keyId: 'one' }])
  assert.deepEqual(copy.endpoints.token?.callerKeys.get(copy.apis[1]!), [
    { publicKey: EC, algorithm: 'ES256', keyId: undefined },
  ])
  const [known] = keysOf(copy) ?? []
  assert.equal(createPublicKey(known?.publicKey ?? '').asymmetricKeyType, 'rsa')
})

const WANTED = /must be one public key in PEM/

for (const [what, bad, option, message] of [
  ['a private key', { publicKey: SIGNING.privateKey }, 'publicKey', /is a private key/],
  ['two keys in one', { publicKey: EC + RSA }, 'publicKey', WANTED],
  ['no key', { publicKey: EC.replaceAll(/[\da-z]/g, '') }, 'publicKey', WANTED],
  ['a file that is not there', { publicKey: 'nobody.pem' }, 'publicKey', /cannot be read/],
  ['a small RSA key', { publicKey: SMALL }, 'publicKey', /2048 bits or more/],
  ['an RSA key with a small exponent', { publicKey: WEAK }, 'publicKey', /prove nothing/],
  ['another curve', { publicKey: P384 }, 'publicKey', /one of P-256/],
  ['an algorithm of another kind', { publicKey: EC, algorithm: 'PS256' }, 'algorithm', /go with/],
  ['a secret for an algorithm', { publicKey: RSA, algorithm: 'HS256' }, 'algorithm', /one of/],
] as const) {
  test(`a caller's key that is ${what}: refused, where it stands, and not quoted`, () => {
    const faults = faultsOf(calling({ storefront: [{ publicKey: RSA }, bad] }))
    assert.equal(faults.length, 1, told(faults).join('\n'))
    assert.equal(faults[0]?.path, `endpoints.token.callers.storefront[1].${option}`)
    assert.match(faults[0].message, message)
    assert.doesNotMatch(faults[0].message, /BEGIN|nobody/)
    assert.deepEqual(faultsOf(calling({ storefront: [{ publicKey: RSA }] })), [])
  })
}

const KEYS = [{ publicKey: EC }]
const PASSED_ON = { grant: 'passthrough', because: 'the upstream is its audience' }

for (const [what, input, fault] of [
  [
    'callers of an API that there is not',
    calling({ storfront: KEYS }),
    /^endpoints\.token\.callers: there is no API `storfront`.*`storefront`.* on the listed routes/,
  ],
  [
    'callers of an API of no listed route',
    calling({ backoffice: KEYS }),
    /callers: there is no API `backoffice`.* on the listed routes/,
  ],
  [
    'callers where nobody authenticates',
    signing({ clients: 'none', callers: { storefront: KEYS } }),
    /callers: is of no use with `clients: none`/,
  ],
  ['callers without a key', calling({ storefront: [] }), /callers\.storefront: /],
  [
    'callers of an API without a client',
    calling(
      { storefront: KEYS },
      { 'apis.storefront.client': undefined, 'routes[0].exchange': PASSED_ON },
    ),
    /callers: has no `client`/,
  ],
  [
    'assertions that are for no address',
    signing({}, { 'server.publicOrigin': undefined }),
    /^endpoints\.token\.routes: needs `server\.publicOrigin`/,
  ],
  [
    'assertions of callers that are for no address',
    calling({ storefront: KEYS }, { 'server.publicOrigin': undefined }),
    /^endpoints\.token\.callers: needs `server\.publicOrigin`/,
  ],
  [
    'replicas of which nobody knows all assertions',
    signing({}, { 'server.replicas': 2 }),
    /^endpoints\.token\.routes: needs `cache\.redis`, or `replay: local`/,
  ],
  [
    'local assertions where nobody signs',
    changed({ 'endpoints.token': { ...TOKEN, replay: 'local' } }),
    /^endpoints\.token\.replay: is of no use/,
  ],
  [
    'a route of clients of one name that show who they are in two ways',
    signing(
      {},
      {
        'apis.backoffice.client': { id: 'storefront-gateway', secret: 'client secret' },
        'routes[0].authenticate': { apis: ['storefront', 'backoffice'] },
      },
    ),
    /^endpoints\.token\.routes\[0\]: takes tokens of APIs whose clients sign who they are, and/,
  ],
] as const) {
  test(`${what}: refused, and where is said`, () => {
    const faults = told(faultsOf(input))
    assert.equal(faults.length, 1, faults.join('\n'))
    assert.match(faults[0]!, fault)
  })
}

test('twins: replicas that share Redis, or are said to know their own', () => {
  const redis = { url: 'redis://127.0.0.1:6379', sealingKeys: [randomBytes(32).toString('base64')] }
  for (const more of [{ 'cache.redis': redis }, { 'endpoints.token.replay': 'local' }]) {
    const faults = told(faultsOf(signing({}, { 'server.replicas': 2, ...more })))
    assert.deepEqual(faults, [])
  }
  assert.deepEqual(faultsOf(calling({ storefront: KEYS })), [])
})
