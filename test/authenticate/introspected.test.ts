import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRead, SIGNED_ANSWER } from '../../src/authenticate/introspected.ts'
import { createKeySet } from '../../src/authenticate/key-set.ts'
import type { Keys } from '../../src/authenticate/keys.ts'
import { GatewayError } from '../../src/errors.ts'
import { pair, signed } from './issuer.ts'

const ISSUER = 'https://issuer.example/'
const [own, foreign] = [pair('ES256', 'one'), pair('ES256', 'one')]
const set = createKeySet(JSON.stringify({ keys: [own.publicKey] }))
const keys: Keys = {
  epoch: () => set.epoch,
  current: () => Promise.resolve(set),
  renewed: () => Promise.resolve(set),
}
const read = createRead({
  ...{ identifier: ISSUER, recipients: ['storefront', 'https://storefront.example'] },
  ...{ keys: () => keys, algorithms: ['ES256'], clockToleranceMs: 5_000 },
})
const NONSENSE = { code: 'exchange_unavailable', status: 503 }
const TYP = { alg: 'ES256', typ: 'token-introspection+jwt' }

const now = Math.floor(Date.now() / 1_000)
const GOOD = {
  ...{ iss: ISSUER, aud: 'storefront', iat: now },
  token_introspection: { active: true, sub: 'alice' },
}

async function answer(claims: Record<string, unknown> = {}, header = TYP, key = own.privateKey) {
  return { mediaType: SIGNED_ANSWER, text: await signed({ ...GOOD, ...claims }, header, key) }
}

test('a signed answer is read (RFC 9701, section 5)', async () => {
  assert.deepEqual(await read(await answer()), { active: true, sub: 'alice' })
})

for (const [what, made] of [
  ['for the API', () => answer({ aud: 'https://storefront.example' })],
  ['for several, of which we are one', () => answer({ aud: ['other', 'storefront'] })],
  ['with the media type in full', () => answer({}, { ...TYP, typ: `application/${TYP.typ}` })],
] as const) {
  test(`a signed answer ${what} is read`, async () => {
    assert.deepEqual(await read(await made()), { active: true, sub: 'alice' })
  })
}

for (const [what, made] of [
  ['of another key', () => answer({}, TYP, foreign.privateKey)],
  ['of another issuer', () => answer({ iss: 'https://other.example/' })],
  ['for somebody else', () => answer({ aud: 'other' })],
  ['for nobody', () => answer({ aud: undefined })],
  ['of an hour ago', () => answer({ iat: now - 3_600 })],
  ['of an hour to come', () => answer({ iat: now + 3_600 })],
  ['of no time', () => answer({ iat: undefined })],
  ['that is an access token', () => answer({}, { ...TYP, typ: 'at+jwt' })],
  ['without a type', () => answer({}, { alg: 'ES256' } as typeof TYP)],
  ['without members', () => answer({ token_introspection: undefined })],
  ['with a list', () => answer({ token_introspection: [true] })],
  ['that does not say active', () => answer({ token_introspection: { sub: 'alice' } })],
  [
    'whose signature is cut off',
    async () => {
      const { mediaType, text } = await answer()
      return { mediaType, text: text.slice(0, text.lastIndexOf('.') + 1) }
    },
  ],
] as const) {
  test(`a signed answer ${what} is none`, async () => {
    await assert.rejects(read(await made()), NONSENSE)
  })
}

for (const [text, expected] of [
  ['{"active":true,"sub":"alice"}', { active: true, sub: 'alice' }],
  ['{"active":false}', { active: false }],
  ['{"active":"true"}', undefined],
  ['{"active":1}', undefined],
  ['{"active":false,"active":true}', undefined],
  ['{}', undefined],
  ['[true]', undefined],
  ['', undefined],
  ['<html>', undefined],
] as const) {
  test(`the answer ${text || '(nothing)'} is ${expected ? 'read' : 'none'}`, async () => {
    const reading = read({ mediaType: 'application/json', text })
    if (expected !== undefined) assert.deepEqual(await reading, expected)
    else await assert.rejects(reading, NONSENSE)
  })
}

test('an answer that cannot be verified for want of keys is an outage of the keys', async () => {
  const gone = new GatewayError('keys_unavailable', 'gone', { retryAfter: 1 })
  const waiting = createRead({
    ...{ identifier: ISSUER, recipients: ['storefront'], algorithms: ['ES256'] },
    keys: () => ({ ...keys, current: () => Promise.reject(gone) }),
    clockToleranceMs: 5_000,
  })
  await assert.rejects(waiting(await answer()), { code: 'keys_unavailable' })
})
