import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { authorize } from '../../src/authorize/authorize.ts'
import type { Api, Client } from '../../src/config/config.ts'
import { canonicalJson, exchangeKey } from '../../src/exchange/key.ts'
import { PROFILES } from '../../src/exchange/profiles.ts'
import { api, issuer, permit, route, subject } from '../support.ts'

const CLIENT = {
  id: 'client',
  method: 'client_secret_post',
  secret: 'one',
} as const satisfies Client

type Claims = Readonly<Record<string, unknown>>

/** The key of a token with these claims, whose bytes are told by `digest`. */
function contextKey(claims: Claims, { digest = 'digest', ignoreClaims = [] as string[] } = {}) {
  return exchangeKey(
    permit({ subject: { claims, digest }, route: { exchange: { key: 'context', ignoreClaims } } }),
  )
}

function apiKey(given: Partial<Api>): string {
  const own = api(given)
  return exchangeKey(permit({ subject: { api: own }, route: { authenticate: { apis: [own] } } }))
}

const BASE: Claims = { iss: 'https://issuer.example/', sub: 'alice', scope: 'read', exp: 1 }

test('a key is a SHA-256 in base64url and holds no part of the token', () => {
  assert.match(exchangeKey(permit()), /^[\w-]{43}$/)
})

// Few characters, among them what separates fields elsewhere: what could collide, will.
const text = fc.string({ unit: fc.constantFrom('a', 'b', '1', ':', ',', '"', ' '), maxLength: 4 })
const fields = fc.record({
  identifier: text,
  clientId: text,
  audience: fc.option(text, { nil: undefined }),
  resource: fc.option(text, { nil: undefined }),
  scopes: fc.array(text, { maxLength: 3 }),
  digest: text,
  identifiers: fc.array(text, { maxLength: 2 }),
  method: fc.constantFrom('client_secret_post' as const, 'client_secret_basic' as const),
})
type Fields = typeof fields extends fc.Arbitrary<infer Value> ? Value : never

function keyOf({ identifier, clientId, audience, resource, scopes, digest, ...more }: Fields) {
  const client = { ...CLIENT, id: clientId, method: more.method }
  const owner = api({ client, issuer: issuer({ identifiers: more.identifiers }) })
  return exchangeKey(
    authorize(
      subject({ issuer: identifier, digest, api: owner }),
      route({ authenticate: { apis: [owner] }, exchange: { audience, resource, scopes } }),
    ),
  )
}

const meaning = (one: Fields): string =>
  JSON.stringify({ ...one, scopes: [...new Set(one.scopes)].sort() }, (_, value: unknown) =>
    value === undefined ? { absent: true } : value,
  )

test('two exchanges have one key exactly where all that decides their answer is the same', () => {
  type Pair = readonly [Fields, Fields]
  const any: fc.Arbitrary<Pair> = fc.tuple(fields, fields)
  const near: fc.Arbitrary<Pair> = fc.tuple(fields, fields, fc.nat(7)).map(([one, other, at]) => {
    const name = Object.keys(one)[at] as keyof Fields
    return [one, { ...one, [name]: other[name] } as Fields]
  })
  const reordered: fc.Arbitrary<Pair> = fields.map((one) => {
    const { scopes } = one
    return [one, { ...one, scopes: [...scopes.slice(1), ...scopes.slice(0, 2)] }]
  })
  fc.assert(
    fc.property(fc.oneof(any, near, reordered), ([one, other]) => {
      assert.equal(keyOf(one) === keyOf(other), meaning(one) === meaning(other))
    }),
    { numRuns: 3_000 },
  )
})

for (const [one, other] of [
  [{ audience: 'ab' }, { audience: 'a', resource: 'b' }],
  [{ audience: 'a' }, { audience: undefined, resource: 'a' }],
  [{ scopes: ['a', 'b'] }, { scopes: ['a b'] }],
  [{ scopes: ['a,b'] }, { scopes: ['a', 'b'] }],
  [{ audience: '1:a' }, { audience: '' }],
] as const) {
  test(`${JSON.stringify(one)} is not ${JSON.stringify(other)}`, () => {
    const key = (exchange: object) => exchangeKey(permit({ route: { exchange } }))
    assert.notEqual(key(one), key(other))
  })
}

test('no text can pass from the issuer to the subject', () => {
  const key = (issuer: string, digest: string) =>
    exchangeKey(permit({ subject: { issuer, digest } }))
  assert.notEqual(key('a', 'token:b'), key('atoken:', 'b'))
})

test('neither the order of the scopes nor a repeated one tells exchanges apart', () => {
  const key = (scopes: string[]) => exchangeKey(permit({ route: { exchange: { scopes } } }))
  assert.equal(key(['a', 'b']), key(['b', 'a']))
  assert.equal(key(['a', 'b']), key(['b', 'a', 'b']))
  assert.notEqual(key(['a', 'b']), key(['a']))
})

test('with `key: token` another token with the same claims is another key', () => {
  const key = (digest: string) => exchangeKey(permit({ subject: { digest } }))
  assert.equal(key('one'), key('one'))
  assert.notEqual(key('one'), key('other'))
})

test('with `key: context` a refreshed token finds what its forerunner left', () => {
  const first = { ...BASE, exp: 100, iat: 1, nbf: 1, jti: 'one' }
  const second = { ...BASE, exp: 200, iat: 101, nbf: 101, jti: 'two' }
  assert.equal(contextKey(first, { digest: 'one' }), contextKey(second, { digest: 'two' }))
})

for (const [what, claims] of [
  ['another subject', { sub: 'bob' }],
  ['another scope', { scope: 'read write' }],
  ['another session', { sid: 'other' }],
  ['a stepped-up authentication', { acr: 'mfa', amr: ['pwd', 'otp'] }],
  ['another time of authentication', { auth_time: 2 }],
  ['another client', { azp: 'other' }],
  ['another organization', { org_id: 'org_1' }],
  ['another actor', { act: { sub: 'service' } }],
  ['a bound key', { cnf: { jkt: 'thumbprint' } }],
  ['a member named __proto__', JSON.parse('{"__proto__":{"role":"admin"}}') as Claims],
] as const) {
  test(`with \`key: context\` ${what} is a miss`, () => {
    const own = Object.fromEntries([...Object.entries(BASE), ...Object.entries(claims)])
    assert.notEqual(contextKey(own), contextKey(BASE))
  })
}

test('with `key: context` the order of claims and of their members does not count, that of lists does', () => {
  const one = { sub: 'alice', act: { sub: 'a', iss: 'i' }, roles: ['x', 'y'] }
  const other = { roles: ['x', 'y'], act: { iss: 'i', sub: 'a' }, sub: 'alice' }
  assert.equal(contextKey(one), contextKey(other))
  assert.notEqual(contextKey(one), contextKey({ ...one, roles: ['y', 'x'] }))
})

test('`ignoreClaims` takes a claim out of the context, at the top level only', () => {
  const ignoring = { ignoreClaims: ['trace'] }
  const one = { ...BASE, trace: 1 }
  const other = { ...BASE, trace: 2 }
  assert.equal(contextKey(one, ignoring), contextKey(other, ignoring))
  assert.notEqual(contextKey(one), contextKey(other))
  const nested = (trace: number) => contextKey({ ...BASE, act: { trace } }, ignoring)
  assert.notEqual(nested(1), nested(2))
})

for (const profile of Object.keys(PROFILES) as (keyof typeof PROFILES)[]) {
  test(`the profile ${profile} takes its volatile claims, and no others, out of the context`, () => {
    const own = api({ issuer: issuer({ profile }) })
    const key = (claims: Claims) =>
      exchangeKey(
        permit({
          subject: { claims, api: own },
          route: { authenticate: { apis: [own] }, exchange: { key: 'context' } },
        }),
      )
    for (const name of PROFILES[profile].volatileClaims) {
      assert.equal(key({ ...BASE, [name]: 'one' }), key({ ...BASE, [name]: 'other' }), name)
    }
    assert.notEqual(key({ ...BASE, sid: 'one' }), key({ ...BASE, sid: 'other' }))
  })
}

for (const [what, claims, shared] of [
  ['2^53 - 1', { n: 9007199254740991 }, true],
  ['2^53', { n: 9007199254740992 }, false],
  ['-2^53', { n: -9007199254740992 }, false],
  ['2^53 in a list in an object', { deep: { list: [1, 2 ** 53] } }, false],
  ['1e300', { n: 1e300 }, false],
  ['a fraction', { n: 0.5 }, true],
  ['2^53 as text', { n: '9007199254740992' }, true],
  ['2^53 in a claim that does not count', { jti: 2 ** 53 }, true],
] as const) {
  test(`with \`key: context\` a token with ${what} ${shared ? 'shares' : 'stands for itself'}`, () => {
    const own = { ...BASE, ...claims }
    assert.equal(
      contextKey(own, { digest: 'one' }) === contextKey(own, { digest: 'other' }),
      shared,
    )
  })
}

test('a context is never a token: the two kinds of key do not meet', () => {
  const of = (key: 'token' | 'context') => exchangeKey(permit({ route: { exchange: { key } } }))
  assert.notEqual(of('token'), of('context'))
})

test('secrets never change a key, so that rotating one is no cold start', () => {
  const client = CLIENT
  const verification = { kind: 'secret', secrets: ['one'] } as const
  const key = apiKey({ client, verification })
  assert.equal(apiKey({ client: { ...client, secret: 'two' }, verification }), key)
  assert.equal(apiKey({ client, verification: { kind: 'secret', secrets: ['two'] } }), key)
})

test("the client's id and method change a key", () => {
  const key = apiKey({ client: CLIENT })
  assert.notEqual(apiKey({ client: { ...CLIENT, id: 'other' } }), key)
  assert.notEqual(apiKey({ client: { ...CLIENT, method: 'client_secret_basic' } }), key)
})

for (const [name, entry] of Object.entries({
  name: { name: 'other' },
  identifiers: { identifiers: ['https://other.example/'] },
  profile: { profile: 'auth0' },
  tokenEndpoint: { tokenEndpoint: 'https://issuer.example/other' },
  jwksUri: { jwksUri: 'https://issuer.example/keys' },
} as const)) {
  test(`the issuer's ${name} changes a key`, () => {
    assert.notEqual(apiKey({ issuer: issuer(entry) }), apiKey({ issuer: issuer() }))
  })
}

test("the issuer's budget does not change a key", () => {
  const key = (rate: number) => apiKey({ issuer: issuer({ budget: { rate, burst: 1 } }) })
  assert.equal(key(2), key(8))
})

for (const [name, exchange] of Object.entries({
  audience: { audience: 'https://other.internal' },
  resource: { resource: 'https://other.internal' },
  scopes: { scopes: ['other'] },
  key: { key: 'context' },
  ignoreClaims: { ignoreClaims: ['trace'] },
  maxAge: { maxAgeMs: 1 },
  defaultLifetime: { defaultLifetimeMs: 1 },
  timeout: { timeoutMs: 1 },
  expectAudience: { expectAudience: 'https://other.internal' },
  extraScopes: { extraScopes: 'allow' },
})) {
  test(`the \`exchange\` block's ${name} changes a key`, () => {
    assert.notEqual(exchangeKey(permit({ route: { exchange } })), exchangeKey(permit()))
  })
}

test('what another route says, and the other blocks of this one, do not change a key', () => {
  const key = exchangeKey(permit())
  const others = {
    name: 'other',
    match: { path: '/other', methods: ['GET'] },
    authorize: { anyScope: [] },
    proxy: { upstream: 'http://127.0.0.1:10', timeoutMs: 1 },
  }
  assert.equal(exchangeKey(permit({ route: others })), key)
})

test('canonical JSON writes numbers, strings and literals as RFC 8785, section 3.2.2 shows', () => {
  const input: unknown = JSON.parse(String.raw`{
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
  }`)
  assert.equal(
    canonicalJson(input),
    String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],` +
      String.raw`"string":"€$\u000f\nA'B\"\\\\\"/"}`,
  )
})

test('canonical JSON sorts members by UTF-16 code units, as RFC 8785, section 3.2.3 shows', () => {
  const names = ['\u20ac', '\r', '\ufb33', '1', '\ud83d\ude00', '\u0080', '\u00f6']
  const sorted = ['\r', '1', '\u0080', '\u00f6', '\u20ac', '\ud83d\ude00', '\ufb33']
  const text = canonicalJson(Object.fromEntries(names.map((name) => [name, 0])))
  assert.equal(text, `{${sorted.map((name) => `${JSON.stringify(name)}:0`).join(',')}}`)
})

for (const [value, text] of [
  [-0, '0'],
  [1e21, '1e+21'],
  [5e-324, '5e-324'],
  ['\ud800', String.raw`"\ud800"`],
  [{ b: undefined, a: 1 }, '{"a":1}'],
  [[undefined], '[null]'],
  [{}, '{}'],
] as const) {
  test(`canonical JSON of a corner case is ${text}`, () => assert.equal(canonicalJson(value), text))
}

test('canonical JSON says the same thing as JSON, whatever the order of members', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (json) => {
      const value: unknown = JSON.parse(json)
      const text = canonicalJson(value)
      assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)))
      assert.equal(canonicalJson(reversed(value)), text)
    }),
  )
})

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reversed(member)]),
  )
}
