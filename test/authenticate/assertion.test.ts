import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  type AssertionUse,
  createCheckAssertion,
  type CheckAssertionOptions,
  unverifiedAssertion,
} from '../../src/authenticate/assertion.ts'
import { GatewayError } from '../../src/errors.ts'
import { claimsOf, signer } from './assertions.ts'
import { type Given, ORIGIN, signedBy } from './proofs.ts'

const NOW = 1_800_000_000
const own = signer()
const other = signer()
const rsa = signer('RS256')

const KEY = { publicKey: own.pem.publicKey, algorithm: 'ES256', keyId: undefined } as const
const AUDIENCES = [ORIGIN, `${ORIGIN}/token`]

/** What a check of these options finds of an assertion. */
function judge(
  t: TestContext,
  assertion: string,
  options: Partial<CheckAssertionOptions> = {},
): AssertionUse {
  const check = createCheckAssertion({
    ...{ clientId: 'storefront', keys: [KEY], audiences: AUDIENCES, clockToleranceMs: 5_000 },
    ...options,
  })
  freeze(t)
  return check(unverifiedAssertion(assertion))
}

/** Twice is once. */
const frozen = new WeakSet<TestContext>()
function freeze(t: TestContext): void {
  if (frozen.has(t)) return
  frozen.add(t)
  t.mock.timers.enable({ apis: ['Date'], now: NOW * 1_000 })
}

function refusedFor(reason: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof GatewayError)
    assert.equal(error.code, 'invalid_request')
    assert.match(error.message, reason)
    return true
  }
}

for (const [what, bad, good, reason] of [
  ['for somebody else', { aud: 'https://issuer.example' }, { aud: ORIGIN }, /"aud"/],
  ['for a longer address', { aud: `${ORIGIN}/token/` }, { aud: `${ORIGIN}/token` }, /"aud"/],
  ['for an origin in capitals', { aud: ORIGIN.toUpperCase() }, { aud: ORIGIN }, /"aud"/],
  ['for us and another', { aud: [ORIGIN, 'https://b'] }, { aud: [ORIGIN] }, /"aud"/],
  ['for us twice', { aud: [ORIGIN, ORIGIN] }, { aud: [`${ORIGIN}/token`] }, /"aud"/],
  ['for a list in a list', { aud: [[ORIGIN]] }, { aud: [ORIGIN] }, /"aud"/],
  ['for nobody', { aud: undefined }, { aud: ORIGIN }, /"aud"/],
  ['for an empty list', { aud: [] }, { aud: ORIGIN }, /"aud"/],
  ['by another issuer', { iss: 'backoffice' }, { iss: 'storefront' }, /"iss" and "sub"/],
  ['without an issuer', { iss: undefined }, { iss: 'storefront' }, /"iss" and "sub"/],
  ['about another client', { sub: 'backoffice' }, { sub: 'storefront' }, /"iss" and "sub"/],
  ['about nobody', { sub: undefined }, { sub: 'storefront' }, /"iss" and "sub"/],
  ['about a list', { sub: ['storefront'] }, { sub: 'storefront' }, /"iss" and "sub"/],
  ['without an end', { exp: undefined }, { exp: NOW + 1 }, /"exp" claim must be a number/],
  ['with an end in words', { exp: `${NOW + 1}` }, { exp: NOW + 1 }, /"exp" claim must be a number/],
  ['that has ended', { exp: NOW - 5 }, { exp: NOW - 4 }, /has expired/],
  ['that ends too late', { exp: NOW + 606 }, { exp: NOW + 605 }, /too far ahead/],
  ['that begins later', { nbf: NOW + 6 }, { nbf: NOW + 5 }, /"nbf" claim is in the future/],
  ['that begins at no time', { nbf: 'now' }, { nbf: NOW }, /"nbf" claim must be a number/],
  ['of the future', { iat: NOW + 6 }, { iat: NOW + 5 }, /"iat" claim is in the future/],
  ['of no time', { iat: null }, { iat: undefined }, /"iat" claim must be a number/],
  ['without a name', { jti: undefined }, { jti: 'a' }, /"jti"/],
  ['with an empty name', { jti: '' }, { jti: 'a' }, /"jti"/],
  ['with a number for a name', { jti: 7 }, { jti: '7' }, /"jti"/],
  ['with a long name', { jti: 'x'.repeat(257) }, { jti: 'x'.repeat(256) }, /"jti"/],
] as const) {
  test(`an assertion ${what} is refused, and its twin is taken`, async (t) => {
    freeze(t)
    const refused = await own.assertion({ claims: bad })
    assert.throws(() => judge(t, refused), refusedFor(reason))
    judge(t, await own.assertion({ claims: good }))
  })
}

for (const [what, bad, good, reason] of [
  ['another algorithm', { alg: 'RS256' }, { alg: 'ES256' }, /names no key/],
  ['another key', { kid: 'two' }, { kid: 'one' }, /names no key/],
  ['a key by a number', { kid: 1 }, { kid: undefined }, /"kid" header is not a string/],
  ['another type', { typ: 'at+jwt' }, { typ: 'client-authentication+jwt' }, /"typ"/],
  ['the type of a proof', { typ: 'dpop+jwt' }, { typ: 'JWT' }, /"typ"/],
  ['a type that is no text', { typ: 1 }, { typ: 'application/jwt' }, /"typ"/],
] as const) {
  test(`an assertion whose header names ${what} is refused, and its twin is taken`, async (t) => {
    freeze(t)
    const keys = [{ ...KEY, keyId: 'one' }]
    const by = 'alg' in bad && bad.alg === 'RS256' ? rsa : own
    const refused = await by.assertion({ header: bad })
    assert.throws(() => judge(t, refused, { keys }), refusedFor(reason))
    judge(t, await own.assertion({ header: good }), { keys })
  })
}

/** As no library would make it. */
function byHand(header: object, claims: object, signature: string): string {
  const part = (json: object): string => Buffer.from(JSON.stringify(json)).toString('base64url')
  return `${part(header)}.${part(claims)}.${signature}`
}

test('a public key is no secret: an HMAC made of it, in whatever form, is refused', async (t) => {
  freeze(t)
  const { publicKey } = rsa.pem
  const keys = [{ publicKey, algorithm: 'RS256', keyId: undefined }] as const
  for (const secret of [publicKey, publicKey.trim(), publicKey.replaceAll('\n', '\r\n')]) {
    for (const alg of ['HS256', 'HS512']) {
      const forged = await signedBy(Buffer.from(secret), { alg }, claimsOf('storefront'))
      assert.throws(() => judge(t, forged, { keys }), refusedFor(/names no key/))
    }
  }
  judge(t, await rsa.assertion(), { keys })
})

test('an assertion that nobody signed is refused', (t) => {
  freeze(t)
  const claims = claimsOf('storefront')
  for (const alg of ['none', 'None', '']) {
    const unsigned = byHand({ alg }, claims, '')
    assert.throws(() => judge(t, unsigned), refusedFor(/names no key/))
  }
  assert.throws(() => judge(t, byHand({ alg: 'ES256' }, claims, '')), refusedFor(/signature/))
})

test('an assertion that asks for an extension is refused', (t) => {
  freeze(t)
  for (const header of [{ crit: ['exp'] }, { b64: false }]) {
    const extended = byHand({ alg: 'ES256', ...header }, claimsOf('storefront'), 'AA')
    assert.throws(() => judge(t, extended), refusedFor(/extension/))
  }
})

test('who has another key signs for nobody here, whatever the header brings along', async (t) => {
  freeze(t)
  const jwk = other.privateKey.export({ format: 'jwk' })
  for (const header of [{}, { jwk: { kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y } }]) {
    const given: Given = { header }
    const foreign = await other.assertion(given)
    assert.throws(() => judge(t, foreign), refusedFor(/signature is of no key/))
    judge(t, await own.assertion(given))
  }
})

test('PS256 and RS256 are two: a key is for the one that is configured', async (t) => {
  freeze(t)
  const pss = await signedBy(rsa.privateKey, { alg: 'PS256' }, claimsOf('storefront'))
  const of = (algorithm: 'PS256' | 'RS256'): Partial<CheckAssertionOptions> => ({
    keys: [{ publicKey: rsa.pem.publicKey, algorithm, keyId: undefined }],
  })
  assert.throws(() => judge(t, pss, of('RS256')), refusedFor(/names no key/))
  judge(t, pss, of('PS256'))
})

test('while a key is replaced both are taken, and a kid picks its own', async (t) => {
  freeze(t)
  const keys = [
    { ...KEY, keyId: 'old' },
    { ...KEY, publicKey: other.pem.publicKey, keyId: 'new' },
  ]
  for (const [by, kid] of [
    [own, 'old'],
    [other, 'new'],
    [own, undefined],
    [other, undefined],
  ] as const) {
    judge(t, await by.assertion({ header: { kid } }), { keys })
  }
  const crossed = await own.assertion({ header: { kid: 'new' } })
  assert.throws(() => judge(t, crossed, { keys }), refusedFor(/signature/))
})

test('a changed assertion is refused', async (t) => {
  freeze(t)
  const [header = '', claims = '', signature = ''] = (await own.assertion()).split('.')
  const [, changed = ''] = (await own.assertion()).split('.')
  assert.notEqual(claims, changed)
  const joined = [header, changed, signature].join('.')
  assert.throws(() => judge(t, joined), refusedFor(/signature/))
  judge(t, [header, claims, signature].join('.'))
})

for (const by of [own, rsa] as const) {
  const alg = by === own ? 'ES256' : 'RS256'
  test(`whichever character of an assertion (${alg}) is another, it is refused, and is no defect`, async (t) => {
    freeze(t)
    const { publicKey } = by.pem
    const keys = [{ publicKey, algorithm: alg, keyId: undefined } as const]
    const assertion = await by.assertion({ claims: { jti: 'one' } })
    judge(t, assertion, { keys })
    for (let at = 0; at < assertion.length; at++) {
      for (const character of ['A', '.', '\u00e9']) {
        if (assertion[at] === character) continue
        const changed = assertion.slice(0, at) + character + assertion.slice(at + 1)
        assert.throws(() => judge(t, changed, { keys }), GatewayError, changed)
      }
    }
  })
}

for (const [what, spelled] of [
  ['nothing', ''],
  ['no JWT', 'a.b'],
  ['an encrypted one', 'YQ.YQ.YQ.YQ.YQ'],
  ['one with a line break', 'e30.e30.YQ\n'],
  ['one with padding', 'e30.e30.YQ=='],
  ['a list', 'e30.W10.YQ'],
  ['a member twice', `e30.${Buffer.from('{"a":1,"a":1}').toString('base64url')}.YQ`],
  ['more than 8192 characters', `e30.e30.${'A'.repeat(8_188)}`],
] as const) {
  test(`${what} is no assertion, and no defect`, () => {
    assert.throws(
      () => unverifiedAssertion(spelled),
      refusedFor(/assertion is (?:not one|too long)/),
    )
  })
}

test('what is used up is the name that the client gave, until nobody would take it', async (t) => {
  freeze(t)
  const { name, until, holder } = judge(t, await own.assertion({ claims: { jti: 'a' } }))
  assert.equal(until, (NOW + 60 + 5) * 1_000)
  assert.equal(holder, 'client storefront')
  const again = { jti: 'a', exp: NOW + 30, aud: `${ORIGIN}/token` }
  assert.equal(judge(t, await own.assertion({ claims: again })).name, name)
  assert.notEqual(judge(t, await own.assertion({ claims: { jti: 'b' } })).name, name)
  const claims = { iss: 'backoffice', sub: 'backoffice', jti: 'a' }
  const another = judge(t, await own.assertion({ claims }), { clientId: 'backoffice' })
  assert.notEqual(another.name, name)
  assert.equal(name.includes('storefront'), false)
})
