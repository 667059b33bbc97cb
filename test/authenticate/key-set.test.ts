import assert from 'node:assert/strict'
import { generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import { test } from 'node:test'
import { createKeySet } from '../../src/authenticate/key-set.ts'
import { pair } from './issuer.ts'

type Jwk = Readonly<Record<string, unknown>>

const RSA: Jwk = pair('RS256', 'rsa').publicKey
const EC: Jwk = pair('ES256', 'ec').publicKey
const OKP: Jwk = pair('EdDSA', 'okp').publicKey

function rsa(bits: number, publicExponent = 65_537): Jwk {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: bits, publicExponent })
  return publicKey.export({ format: 'jwk' }) as JsonWebKey as Jwk
}

const found = (keys: readonly unknown[], header: Jwk): number =>
  createKeySet(JSON.stringify({ keys })).find(header).keys.length

/** A key of each kind, and what makes it none that verifies. */
const CHANGES: readonly (readonly [what: string, change: Jwk, isFound: boolean])[] = [
  ['as it is', {}, true],
  ['for signatures', { use: 'sig' }, true],
  ['for encryption', { use: 'enc' }, false],
  ['for a use that nobody knows', { use: 'Sig' }, false],
  ['for a use that is no text', { use: ['sig'] }, false],
  ['to verify with', { key_ops: ['verify'] }, true],
  ['to verify with, among others', { key_ops: ['encrypt', 'verify'] }, true],
  ['to sign with alone', { key_ops: ['sign'] }, false],
  ['to encrypt with', { key_ops: ['encrypt', 'wrapKey'] }, false],
  ['for no operation', { key_ops: [] }, false],
  ['for operations that are no list', { key_ops: 'verify' }, false],
  ['for another algorithm', { alg: 'RSA-OAEP' }, false],
  ['of another type', { kty: 'oct' }, false],
  ['of a type in another spelling', { kty: 'rsa' }, false],
  ['with another name', { kid: 'other' }, false],
  ['without a name', { kid: undefined }, false],
  ['with a chain of certificates', { x5c: ['AAAA'], x5t: 'AAAA' }, true],
  ['with a member that nobody knows', { ext: true }, true],
]
for (const [kind, key, alg] of [
  ['RSA', RSA, 'RS256'],
  ['EC', EC, 'ES256'],
  ['OKP', OKP, 'EdDSA'],
] as const) {
  for (const [what, change, isFound] of CHANGES) {
    test(`a key of type ${kind} ${what} ${isFound ? 'verifies' : 'verifies nothing'}`, () => {
      const header = { alg, kid: key['kid'] }
      assert.equal(found([{ ...key, ...change }], header), isFound ? 1 : 0)
      assert.equal(found([{ ...key, ...change }, key], header), isFound ? 2 : 1)
    })
  }

  test(`a key of type ${kind} is of no use to another algorithm`, () => {
    for (const other of ['RS256', 'ES256', 'EdDSA', 'ES384', 'HS256', 'none', 'toString', '', 1]) {
      assert.equal(found([key], { alg: other }), other === alg ? 1 : 0)
    }
  })

  test(`a token that names no key is tried with a key of type ${kind} that has a name`, () => {
    assert.equal(found([key], { alg }), 1)
    assert.equal(found([{ ...key, kid: undefined }], { alg }), 1)
  })
}

/** The first bit and the last are set: as far as anybody looks, a modulus. */
const LARGE = Buffer.alloc(2_048, 0xff).toString('base64url')

const WEAK: readonly (readonly [what: string, key: Jwk, algorithm: string, twin: Jwk])[] = [
  ['RSA of 1024 bits', rsa(1_024), 'RS256', rsa(2_048)],
  ['RSA of 2040 bits', rsa(2_040), 'RS256', rsa(2_048)],
  ['RSA with the exponent 3', rsa(2_048, 3), 'RS256', rsa(2_048, 65_537)],
  ['RSA with the exponent 1', { ...RSA, e: 'AQ' }, 'RS256', { ...RSA, e: 'AQAB' }],
  ['RSA with an even exponent', { ...RSA, e: 'AQAC' }, 'RS256', { ...RSA, e: 'AQAD' }],
  ['RSA with a large exponent', { ...RSA, e: 'AQAAAAE' }, 'RS256', { ...RSA, e: 'AQAB' }],
  ['RSA of 16384 bits', { ...RSA, n: LARGE }, 'RS256', RSA],
  ['RSA with no exponent', { ...RSA, e: undefined }, 'RS256', RSA],
  ['RSA with a modulus that is no text', { ...RSA, n: 1 }, 'RS256', RSA],
  ['EC that is not on its curve', { ...EC, y: EC['x'] }, 'ES256', EC],
  ['EC without a half', { ...EC, y: undefined }, 'ES256', EC],
  ['OKP that is too short', { ...OKP, x: 'AAAA' }, 'EdDSA', OKP],
  ['EC with its private half', { ...pair('ES256').privateKey }, 'ES256', pair('ES256').publicKey],
  ['EC with half a private half', { ...EC, d: '' }, 'ES256', EC],
]
for (const [what, weak, algorithm, twin] of WEAK) {
  test(`a key of ${what} is told to be unusable, and spoils no other`, () => {
    const set = createKeySet(JSON.stringify({ keys: [weak, { ...twin, kid: 'twin' }] }))
    const { keys, unusable } = set.find({ alg: algorithm })
    assert.equal(keys.length, 1)
    assert.ok(unusable instanceof Error)
    const alone = set.find({ alg: algorithm, kid: 'twin' })
    assert.deepEqual([alone.keys.length, alone.unusable], [1, undefined])
  })
}

test('of keys that match, no more than eight are tried', () => {
  const many = Array.from({ length: 20 }, () => EC)
  assert.equal(found(many, { alg: 'ES256' }), 8)
  assert.equal(found(many.slice(0, 8), { alg: 'ES256' }), 8)
})

test('a thousand keys cost nothing until a token asks for one of them', () => {
  const keys = Array.from({ length: 2_000 }, (_, index) => ({ ...RSA, kid: `key ${index}` }))
  const text = JSON.stringify({ keys })
  const startedAt = process.cpuUsage()
  const set = createKeySet(text)
  assert.equal(set.find({ alg: 'RS256', kid: 'key 1999' }).keys.length, 1)
  // To read all of them takes longer.
  assert.ok(process.cpuUsage(startedAt).user < 1_000_000)
  assert.equal(set.find({ alg: 'RS256', kid: 'key 2000' }).keys.length, 0)
})

for (const text of [
  '{}',
  '[]',
  'null',
  '{"keys":{}}',
  '{"keys":[1]}',
  '{"keys":[null,"a",[]]}',
  '{"keys":[],"keys":[]}',
  `{"keys":[{"kty":"EC","kty":"RSA"}]}`,
]) {
  test(`${text} is no key set`, () => {
    assert.throws(() => createKeySet(text), SyntaxError)
  })
}

test('what is no key spoils no key beside it', () => {
  const odd = [null, 1, 'a', [], {}, { kty: 1 }, { kty: 'RSA' }, { kty: 'EC', crv: 'P-256' }]
  assert.equal(found([...odd, { ...EC, kid: 'good' }], { alg: 'ES256', kid: 'good' }), 1)
  assert.equal(found(odd, { alg: 'ES256', kid: 'good' }), 0)
})

test('another text is another epoch', () => {
  const epochs = [[EC], [RSA], [EC, RSA]].map(
    (keys) => createKeySet(JSON.stringify({ keys })).epoch,
  )
  assert.equal(new Set(epochs).size, 3)
  assert.equal(createKeySet(JSON.stringify({ keys: [EC] })).epoch, epochs[0])
})
