import assert from 'node:assert/strict'
import { test } from 'node:test'
import { claimsOf, gateWithKeys, pair, signed } from './issuer.ts'

const { privateKey, publicKey } = pair('ES256')

/** Characters that lenient decoders skip, pad with or take for others, and some that end a header or a line. */
const SKIPPED = [
  ' ',
  '\t',
  '\n',
  '\r',
  '=',
  '==',
  '\0',
  '%20',
  '\u00a0',
  '\u{feff}',
  ',',
  '"',
  '+',
  '/',
  '%',
  '\x7f',
]

function respellings(token: string): Set<string> {
  const spellings = new Set<string>()
  for (const character of SKIPPED) {
    for (let at = 0; at <= token.length; at++) {
      spellings.add(token.slice(0, at) + character + token.slice(at))
    }
  }
  const parts = token.split('.')
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  for (const [index, part] of parts.entries()) {
    const bytes = Buffer.from(part, 'base64url')
    for (const last of alphabet) {
      const respelled = part.slice(0, -1) + last
      if (respelled !== part && Buffer.from(respelled, 'base64url').equals(bytes)) {
        spellings.add(parts.with(index, respelled).join('.'))
      }
    }
    spellings.add(parts.with(index, bytes.toString('base64')).join('.'))
    spellings.add(parts.with(index, part.padEnd(Math.ceil(part.length / 4) * 4, '=')).join('.'))
    // One character more holds six bits that no byte has.
    if (part.length % 4 === 0) spellings.add(parts.with(index, `${part}A`).join('.'))
    spellings.add(parts.with(index, `${part}.`).join('.'))
  }
  spellings.delete(token)
  return spellings
}

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

test('a token of the largest size that a header can hold is judged in one pass', async (t) => {
  const { take } = await gateWithKeys(t, ['ES256'], [publicKey])
  const long = `${'A'.repeat(100_000)}.${'B'.repeat(100_000)}.${'C'.repeat(100_001)}!`
  const startedAt = process.cpuUsage()
  await assert.rejects(take(long), { code: 'invalid_token' })
  // A second of this process's own time: quadratic work would take minutes.
  assert.ok(process.cpuUsage(startedAt).user < 1_000_000)
})
