import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertCanonical } from '../../src/authenticate/jwt.ts'
import { claimsOf, gateWithKeys, pair, signed } from './issuer.ts'
import { respellings } from './spellings.ts'

const { privateKey, publicKey } = pair('ES256')

/** Until every part ends within a group of four: otherwise its last character has no idle bits to spell. */
async function tokenWithIdleBits(identifier: string): Promise<string> {
  for (let length = 0; length < 9; length++) {
    const header = { alg: 'ES256', kid: 'ES256', note: 'x'.repeat(length) }
    const claims = {
      ...claimsOf(identifier),
      note: '\u00ff\u00fe?>'.repeat(40) + 'y'.repeat(length),
    }
    const token = await signed(claims, header, privateKey)
    if (token.split('.').every((part) => part.length % 4 !== 0)) return token
  }
  throw new Error('no length leaves idle bits in every part')
}

test('ten thousand other spellings of one good token cost no request and leave nothing behind', async (t) => {
  const { take, identifier, issued, remembered } = await gateWithKeys(t, ['ES256'], [publicKey])
  const token = await tokenWithIdleBits(identifier)
  const spellings = respellings(token)
  assert.ok(spellings.size >= 10_000, `${spellings.size} spellings`)
  for (const spelling of spellings) {
    await assert.rejects(take(spelling), { code: 'invalid_token' }, JSON.stringify(spelling))
  }
  assert.deepEqual(issued.requests, [])
  assert.equal(remembered(), 0)

  assert.equal((await take(token)).value, token)
  assert.deepEqual(issued.requests, ['/jwks'])
  assert.equal(remembered(), 1)
})

for (const [name, token] of [
  ['an opaque token', 'b3BhcXVlIHRva2VuIHRoYXQgaXMgbG9uZyBlbm91Z2g'],
  ['an encrypted token', 'aGVhZGVy.a2V5.aXY.dGV4dA.dGFn'],
  ['an encrypted token with a direct key', 'aGVhZGVy..aXY.dGV4dA.dGFn'],
  ['two parts', 'aGVhZGVy.cGF5bG9hZA'],
  ['four parts', 'aGVhZGVy.cGF5bG9hZA.c2ln.c2ln'],
  ['only dots', '..'],
  ['nothing', ''],
] as const) {
  test(`${name} is refused before anything is fetched`, async (t) => {
    const { take, issued } = await gateWithKeys(t, ['ES256'], [publicKey])
    await assert.rejects(take(token), { code: 'invalid_token', status: 401 })
    assert.deepEqual(issued.requests, [])
  })
}

test('a long token is judged in one pass', () => {
  const long = `${'A'.repeat(100_000)}.${'B'.repeat(100_000)}.${'C'.repeat(100_001)}!`
  const startedAt = process.cpuUsage()
  assert.throws(() => assertCanonical(long), { code: 'invalid_token' })
  assertCanonical(`${'A'.repeat(100_000)}.${'B'.repeat(100_000)}.${'C'.repeat(100_000)}`)
  // A second of this process's own time: quadratic work would take minutes.
  assert.ok(process.cpuUsage(startedAt).user < 1_000_000)
})

for (const [length, accepted] of [
  [16_384, true],
  [16_385, false],
] as const) {
  test(`a token of ${length} characters is ${accepted ? 'verified' : 'refused for its length'}`, async (t) => {
    const { take, identifier, issued, verifications } = await gateWithKeys(
      t,
      ['ES256'],
      [publicKey],
    )
    const token = await tokenOfLength(identifier, length)
    if (accepted) assert.equal((await take(token)).value, token)
    else await assert.rejects(take(token), { code: 'invalid_token', message: /too long/ })
    assert.equal(issued.requests.length, accepted ? 1 : 0)
    assert.equal(verifications(), accepted ? 1 : 0)
  })
}

/** Each further character of a claim adds one or two, so that all lengths but some are had by two claims. */
async function tokenOfLength(identifier: string, length: number): Promise<string> {
  for (const note of ['', 'x', 'xx']) {
    const header = { alg: 'ES256', kid: 'ES256', note }
    const claims = claimsOf(identifier)
    const empty = await signed({ ...claims, pad: '' }, header, privateKey)
    for (let more = 0; more < 4; more++) {
      const pad = 'p'.repeat(Math.floor(((length - empty.length) * 3) / 4) + more - 2)
      const token = await signed({ ...claims, pad }, header, privateKey)
      if (token.length === length) return token
    }
  }
  throw new Error(`no token has ${length} characters`)
}
