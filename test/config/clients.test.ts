import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { resolve } from 'node:path'
import { test } from 'node:test'
import type { Client } from '../../src/config/config.ts'
import { loadConfig, readConfig } from '../../src/config/load.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { folder } from '../folder.ts'
import { changed, faultsOf, told, valid } from './given.ts'

const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string
const { privateKey: rsaKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const { privateKey: ecKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const RSA = pem(rsaKey)
const EC = pem(ecKey)
const P384 = pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey)
const SMALL = pem(generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey)
const LOCKED = rsaKey.export({
  ...{ type: 'pkcs8', format: 'pem' },
  ...{ cipher: 'aes-256-cbc', passphrase: 'a passphrase' },
}) as string

const withClient = (client: object): object => changed({ 'apis.storefront.client': client })
const clientOf = (client: object): Client | undefined =>
  readConfig(withClient(client), { environment: {} }).apis[0]?.client

for (const [what, given, expected] of [
  [
    'an RSA key signs with RS256',
    { privateKey: RSA, keyId: 'one' },
    { method: 'private_key_jwt', privateKey: { pem: RSA }, keyId: 'one', algorithm: 'RS256' },
  ],
  [
    'an RSA key signs with PS256 where that is said',
    { method: 'private_key_jwt', privateKey: RSA, algorithm: 'PS256' },
    { method: 'private_key_jwt', privateKey: { pem: RSA }, keyId: undefined, algorithm: 'PS256' },
  ],
  [
    'a P-256 key signs with ES256',
    { privateKey: EC },
    { method: 'private_key_jwt', privateKey: { pem: EC }, keyId: undefined, algorithm: 'ES256' },
  ],
] as const) {
  test(what, () => {
    assert.deepEqual(clientOf({ id: 'gateway', ...given }), { id: 'gateway', ...expected })
  })
}

const KEY_WANTED = /must be a private key in PEM without a passphrase/

for (const [bad, good, option, message] of [
  [{}, { secret: 's' }, 'secret', /^is required, or a `privateKey`/],
  [{ keyId: 'one' }, { privateKey: RSA, keyId: 'one' }, 'secret', /^is required/],
  [{ secret: 's', privateKey: RSA }, { privateKey: RSA }, 'privateKey', /stands beside `secret`/],
  [{ secret: 's', certificate: 'c' }, { secret: 's' }, 'certificate', /needs a `key`/],
  [{ secret: 's', assertionFile: 'f' }, { secret: 's' }, 'assertionFile', /in one way/],
  [{ secret: 's', keyId: 'one' }, { secret: 's' }, 'keyId', /of no use without `privateKey`/],
  [{ secret: 's', algorithm: 'ES256' }, { secret: 's' }, 'algorithm', /without `privateKey`/],
  [{ privateKey: EC, key: EC }, { privateKey: EC }, 'key', /of no use without `certificate`/],
  [
    { secret: 's', method: 'private_key_jwt' },
    { privateKey: RSA, method: 'private_key_jwt' },
    'method',
    /does not go with `secret`/,
  ],
  [
    { privateKey: RSA, method: 'client_secret_post' },
    { secret: 's', method: 'client_secret_post' },
    'method',
    /does not go with `privateKey`/,
  ],
  [
    { privateKey: RSA, algorithm: 'ES256' },
    { privateKey: EC, algorithm: 'ES256' },
    'algorithm',
    /does not go with the kind/,
  ],
  [{ privateKey: EC, algorithm: 'PS256' }, { privateKey: EC }, 'algorithm', /does not go with/],
  [{ privateKey: RSA, algorithm: 'HS256' }, { privateKey: RSA }, 'algorithm', /must be one of/],
  [{ privateKey: P384 }, { privateKey: EC }, 'privateKey', /RSA key of 2048 bits or more/],
  [{ privateKey: SMALL }, { privateKey: RSA }, 'privateKey', /RSA key of 2048 bits or more/],
  [{ privateKey: LOCKED }, { privateKey: RSA }, 'privateKey', KEY_WANTED],
  [{ privateKey: '-----BEGIN x' }, { privateKey: RSA }, 'privateKey', KEY_WANTED],
  [{ privateKey: '/no/such' }, { privateKey: RSA }, 'privateKey', /read: there is no such file$/],
  [{ privateKey: '/' }, { privateKey: RSA }, 'privateKey', /read: it is a folder$/],
  [{ certificate: 'c' }, { secret: 's' }, 'certificate', /needs a `key` beside it/],
  [{ assertionFile: '/no/such' }, { secret: 's' }, 'assertionFile', /there is no such file$/],
] as const) {
  const kind = (given: object): string => JSON.stringify(given).replaceAll(/-----[^"]*/g, 'PEM')
  test(`the client ${kind(bad)} is refused, where ${kind(good)} is taken (${message.source})`, () => {
    assert.deepEqual(told(faultsOf(withClient({ id: 'gateway', ...good }))), [])
    const faults = faultsOf(withClient({ id: 'gateway', ...bad }))
    assert.equal(faults.length, 1, told(faults).join('\n'))
    assert.equal(faults[0]?.path, `apis.storefront.client.${option}`)
    assert.match(faults[0].message, message)
  })
}

test('files are found from the folder of the configuration', async (t) => {
  const path = await folder(t, { 'client.key': EC, token: 'a.b.c', empty: '\n' })
  const load = async (client: object): Promise<Client | undefined> => {
    const { writeFile } = await import('node:fs/promises')
    const file = resolve(path, 'behalf.yaml')
    await writeFile(file, JSON.stringify(withClient({ id: 'gateway', ...client })))
    return (await loadConfig(file, { environment: {} })).apis[0]?.client
  }
  const key = await load({ privateKey: 'client.key' })
  assert.ok(key?.method === 'private_key_jwt')
  assert.deepEqual(key.privateKey, { file: resolve(path, 'client.key') })
  const assertion = await load({ assertionFile: './token' })
  assert.deepEqual(assertion, {
    id: 'gateway',
    method: 'assertion_file',
    assertion: { file: resolve(path, 'token') },
  })
  await assert.rejects(load({ assertionFile: 'empty' }), /names a file that is empty/)
})

test('a certificate stands beside its own key', { skip: NO_OPENSSL }, () => {
  const authority = createAuthority()
  const { certificate, key } = authority.issue('gateway')
  const client = clientOf({ id: 'gateway', certificate, key })
  assert.deepEqual(client, {
    id: 'gateway',
    method: 'tls_client_auth',
    certificate: { pem: certificate },
    key: { pem: key },
  })
  for (const [wrong, option] of [
    [{ certificate, key: authority.issue('other').key }, 'key'],
    [{ certificate: key, key }, 'certificate'],
    [{ certificate, key: certificate }, 'key'],
  ] as const) {
    const faults = faultsOf(withClient({ id: 'gateway', ...wrong }))
    assert.deepEqual(
      faults.map(({ path }) => path),
      [`apis.storefront.client.${option}`],
    )
  }
})

test('a key that was written where a path may stand is quoted by no message', () => {
  const word = 'c2VjcmV0'
  for (const privateKey of [word, word.repeat(1_000), `${word}\0`, `/${word}/${word}`]) {
    const text = told(faultsOf(withClient({ id: 'gateway', privateKey }))).join('\n')
    assert.match(text, /cannot be read/)
    assert.ok(!text.includes(word), text)
  }
})

test('a client that is wrong is not missed by the routes that use it', () => {
  const faults = faultsOf(changed({ 'apis.storefront.client': { id: 'gateway' } }, valid()))
  assert.equal(faults.length, 1, told(faults).join('\n'))
})
