import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { test } from 'node:test'
import { CompactEncrypt, type CompactJWEHeaderParameters } from 'jose'
import { createDecrypt, decryptionKeys } from '../../src/authenticate/decrypt.ts'

const REFUSED = { code: 'invalid_token', status: 401 }
const [one, two] = [rsa(), rsa()]
const GOOD: CompactJWEHeaderParameters = { alg: 'RSA-OAEP-256', enc: 'A256GCM' }

function rsa(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('rsa', { modulusLength: 2_048 })
}

function encrypted(
  header: CompactJWEHeaderParameters,
  key: KeyObject = one.publicKey,
  text = 'what was encrypted',
): Promise<string> {
  return new CompactEncrypt(Buffer.from(text)).setProtectedHeader(header).encrypt(key)
}

/** As nobody's library would write it. */
async function withHeader(header: object): Promise<string> {
  const [, ...rest] = (await encrypted(GOOD)).split('.')
  return [Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.')
}

const keysOf = (...keys: readonly (readonly [KeyObject, string?])[]) =>
  decryptionKeys(keys.map(([key, kid]) => ({ key, kid })))

const ALONE = keysOf([one.privateKey])
const decrypt = createDecrypt({ keys: () => ALONE })

for (const alg of ['RSA-OAEP-256', 'RSA-OAEP-384', 'RSA-OAEP-512']) {
  for (const enc of ['A128GCM', 'A192GCM', 'A256GCM']) {
    test(`what was encrypted with ${alg} and ${enc} is read`, async () => {
      const { text, epoch } = await decrypt(await encrypted({ alg, enc }))
      assert.deepEqual([text, epoch], ['what was encrypted', ALONE.epoch])
    })
  }
}

for (const enc of ['A128CBC-HS256', 'A256CBC-HS512']) {
  test(`${enc} is refused, and read where it is an option`, async () => {
    const token = await encrypted({ alg: 'RSA-OAEP-256', enc })
    await assert.rejects(decrypt(token), REFUSED)
    const lenient = createDecrypt({ keys: () => ALONE, encryptions: [enc] })
    assert.equal((await lenient(token)).text, 'what was encrypted')
  })
}

test('RSA-OAEP with SHA-1 is refused, and read where it is an option', async () => {
  const token = await encrypted({ alg: 'RSA-OAEP', enc: 'A256GCM' })
  await assert.rejects(decrypt(token), REFUSED)
  const lenient = createDecrypt({ keys: () => ALONE, algorithms: ['RSA-OAEP'] })
  assert.equal((await lenient(token)).text, 'what was encrypted')
})

for (const [what, members, message] of [
  ['zip', { ...GOOD, zip: 'DEF' }, /is compressed/],
  ['zip of no kind', { ...GOOD, zip: null }, /is compressed/],
  ['crit', { ...GOOD, crit: ['exp'], exp: 1 }, /asks for an extension/],
  ['RSA1_5', { ...GOOD, alg: 'RSA1_5' }, /"alg"/],
  ['dir', { ...GOOD, alg: 'dir' }, /"alg"/],
  ['a password', { ...GOOD, alg: 'PBES2-HS256+A128KW', p2c: 1, p2s: 'AA' }, /"alg"/],
  ['no alg', { enc: 'A256GCM' }, /"alg"/],
  ['an alg in a list', { ...GOOD, alg: ['RSA-OAEP-256'] }, /"alg"/],
  ['no enc', { alg: 'RSA-OAEP-256' }, /"enc"/],
  ['a kid that is no string', { ...GOOD, kid: 1 }, /"kid"/],
] as const) {
  test(`a header with ${what} is refused before any key is used`, async () => {
    let asked = 0
    const counting = createDecrypt({ keys: () => (asked++, ALONE) })
    await assert.rejects(counting(await withHeader(members)), { ...REFUSED, message })
    assert.equal(asked, 0)
  })
}

test('every way in which decryption can fail is told in the same words, and with no cause', async () => {
  const token = await encrypted(GOOD)
  const segments = token.split('.')
  const flipped = (index: number): string => {
    const bytes = Buffer.from(segments[index]!, 'base64url')
    bytes[0]! ^= 1
    return segments.with(index, bytes.toString('base64url')).join('.')
  }
  const short = segments.with(1, 'AAAA').join('.')
  const foreign = await encrypted(GOOD, two.publicKey)
  const noText = await new CompactEncrypt(Buffer.from([0xff, 0xfe]))
    .setProtectedHeader(GOOD)
    .encrypt(one.publicKey)
  for (const bad of [flipped(1), flipped(2), flipped(3), flipped(4), short, foreign, noText]) {
    const error = await decrypt(bad).then(
      () => assert.fail('it was read'),
      (thrown: unknown) => thrown as Error,
    )
    assert.deepEqual(
      [error.message, error.cause],
      ['the access token cannot be decrypted', undefined],
    )
  }
  assert.equal((await decrypt(token)).text, 'what was encrypted')
})

test('while a key is being replaced, tokens of both are read', async () => {
  const both = createDecrypt({ keys: () => keysOf([one.privateKey], [two.privateKey]) })
  for (const { publicKey } of [one, two]) {
    assert.equal((await both(await encrypted(GOOD, publicKey))).text, 'what was encrypted')
  }
})

for (const [kid, key, isRead] of [
  ['one', one, true],
  ['two', one, false],
  ['two', two, true],
  ['another', one, false],
  [undefined, two, true],
] as const) {
  const named = kid === undefined ? 'no key' : `the key "${kid}"`
  test(`a token that names ${named} is ${isRead ? '' : 'not '}read by ${key === one ? 'one' : 'two'}`, async () => {
    const keys = keysOf([one.privateKey, 'one'], [two.privateKey, 'two'])
    const token = await encrypted({ ...GOOD, ...(kid && { kid }) }, key.publicKey)
    const reading = createDecrypt({ keys: () => keys })(token)
    if (isRead) assert.equal((await reading).text, 'what was encrypted')
    else await assert.rejects(reading, REFUSED)
  })
}

test('a key without a name is tried with tokens that name one which is not known', async () => {
  const keys = keysOf([two.privateKey, 'two'], [one.privateKey])
  const token = await encrypted({ ...GOOD, kid: 'issuer’s own' })
  assert.equal((await createDecrypt({ keys: () => keys })(token)).text, 'what was encrypted')
})

test('the epoch is another for other keys and names, and the same for the same', () => {
  assert.equal(keysOf([one.privateKey]).epoch, ALONE.epoch)
  assert.notEqual(keysOf([two.privateKey]).epoch, ALONE.epoch)
  assert.notEqual(keysOf([one.privateKey, 'one']).epoch, ALONE.epoch)
  assert.notEqual(keysOf([one.privateKey], [two.privateKey]).epoch, ALONE.epoch)
})
