import assert from 'node:assert/strict'
import test from 'node:test'
import type { SubjectToken } from '../../src/authenticate/authenticate.ts'
import { checkIssued, type IssuedToken } from '../../src/exchange/issued.ts'
import { ACCESS_TOKEN_TYPE, PROFILES } from '../../src/exchange/profiles.ts'
import type { TokenAnswer } from '../../src/exchange/token-endpoint.ts'
import { IDENTIFIER, permit, unsignedJwt } from '../support.ts'

const TARGET = 'https://orders.internal'
const SENT_AT = 1_800_000_000_000
const SENT_AT_SECONDS = SENT_AT / 1_000
const GOOD = { iss: IDENTIFIER, sub: 'alice', aud: TARGET, exp: SENT_AT_SECONDS + 3_600 }

interface Given {
  readonly claims?: object
  readonly answer?: Partial<TokenAnswer>
  readonly exchange?: object
  readonly subject?: Partial<SubjectToken>
  readonly profile?: keyof typeof PROFILES
}

function check({ claims, answer, exchange, subject, profile = 'rfc8693' }: Given): IssuedToken {
  return checkIssued(
    {
      accessToken: unsignedJwt({ ...GOOD, ...claims }),
      tokenType: 'bearer',
      issuedTokenType: ACCESS_TOKEN_TYPE,
      expiresIn: 3_600,
      scope: undefined,
      ...answer,
    },
    permit({ subject: subject ?? {}, route: { exchange: exchange ?? {} } }),
    PROFILES[profile],
    SENT_AT,
  )
}

function refuses(given: Given, what: string): void {
  assert.throws(
    () => check(given),
    (error: Error & { code?: string }) => {
      assert.equal(error.code, 'exchange_misconfigured')
      assert.match((error.cause as Error).message, new RegExp(`: ${what}$`))
      return true
    },
  )
}

test('what was asked for is taken as it is', () => {
  const accessToken = unsignedJwt(GOOD)
  assert.deepEqual(check({ answer: { accessToken }, exchange: { scopes: ['a', 'b'] } }), {
    scheme: 'Bearer',
    value: accessToken,
    expiresAt: SENT_AT + 3_600_000,
    scopes: ['a', 'b'],
  })
})

for (const tokenType of ['n_a', 'dpop', 'mac', '', 'bearer ']) {
  test(`a token of type "${tokenType}" is refused, where "bearer" is taken`, () => {
    check({ answer: { tokenType: 'bearer' } })
    refuses({ answer: { tokenType } }, 'token_type')
  })
}

for (const issuedTokenType of [
  'urn:ietf:params:oauth:token-type:id_token',
  'urn:ietf:params:oauth:token-type:refresh_token',
  'access_token',
  undefined,
  [ACCESS_TOKEN_TYPE],
]) {
  test(`an issued_token_type of ${JSON.stringify(issuedTokenType)} is refused`, () => {
    check({ answer: { issuedTokenType: ACCESS_TOKEN_TYPE } })
    refuses({ answer: { issuedTokenType } }, 'issued_token_type')
  })
}

// Claim, what is refused, and its twin that is taken.
for (const [claim, bad, good] of [
  ['iss', 'https://issuer.example', IDENTIFIER],
  ['iss', undefined, IDENTIFIER],
  ['iss', [IDENTIFIER], IDENTIFIER],
  ['sub', 'bob', 'alice'],
  ['sub', 'Alice', 'alice'],
  ['sub', undefined, 'alice'],
  ['aud', 'https://storefront.example', TARGET],
  ['aud', `${TARGET}/`, TARGET],
  ['aud', undefined, TARGET],
  ['aud', [], [TARGET]],
  ['aud', ['https://storefront.example'], ['https://storefront.example', TARGET]],
  ['aud', [[TARGET]], [TARGET]],
  ['aud', { 0: TARGET }, [TARGET]],
  ['exp', '4102444800', 4102444800],
  ['exp', null, undefined],
] as const) {
  const of = JSON.stringify(bad)
  test(`a ${claim} of ${of} is refused, where ${JSON.stringify(good)} is taken`, () => {
    check({ claims: { [claim]: good } })
    refuses({ claims: { [claim]: bad } }, claim)
  })
}

test('a token of the same name from another of the issuer’s identifiers is refused', () => {
  const claims = { iss: 'https://custom.example/' }
  check({ claims, subject: { issuer: 'https://custom.example/' } })
  refuses({ claims }, 'iss')
})

for (const [what, exchange, aud] of [
  ['`expectAudience` before all', { expectAudience: 'expected', resource: 'resource' }, 'expected'],
  ['`audience` before `resource`', { resource: 'https://resource.internal' }, TARGET],
  [
    '`resource` where there is no `audience`',
    { audience: undefined, resource: 'https://resource.internal' },
    'https://resource.internal',
  ],
] as const) {
  test(`the audience that must be named is ${what}`, () => {
    check({ exchange, claims: { aud } })
    refuses({ exchange, claims: { aud: 'another' } }, 'aud')
  })
}

const ASKED = { scopes: ['a', 'b'] }

for (const [what, more, less] of [
  ["the answer's scope", { answer: { scope: 'a c' } }, { answer: { scope: 'a' } }],
  ["the token's scope", { claims: { scope: 'a c' } }, { claims: { scope: 'a' } }],
  ["the token's scp as text", { claims: { scp: 'a c' } }, { claims: { scp: 'a' } }],
  ["the token's scp as a list", { claims: { scp: ['a', 'c'] } }, { claims: { scp: ['a'] } }],
  [
    'the token beside an answer that names fewer',
    { answer: { scope: 'a' }, claims: { scope: 'a c' } },
    { answer: { scope: 'a' }, claims: { scope: 'a' } },
  ],
] as const) {
  test(`more scope than was asked for in ${what} is refused, less is taken`, () => {
    assert.deepEqual(check({ exchange: ASKED, ...less }).scopes, ['a'])
    refuses({ exchange: ASKED, ...more }, 'scope')
  })

  test(`more scope in ${what} is taken where the route allows it, and where none was asked`, () => {
    const allowing = check({ exchange: { ...ASKED, extraScopes: 'allow' }, ...more })
    assert.deepEqual(allowing.scopes, ['a', 'c'])
    assert.deepEqual(check({ exchange: { scopes: [] }, ...more }).scopes, [])
  })
}

for (const scope of [7, {}, ['a', 7], null]) {
  test(`scopes that are ${JSON.stringify(scope)} are refused where some were asked for`, () => {
    check({ exchange: ASKED, claims: { scope: ['a'] } })
    refuses({ exchange: ASKED, claims: { scope } }, 'scope')
    check({ exchange: { scopes: [] }, claims: { scope } })
  })
}

test('an empty scope is no scope at all', () => {
  assert.deepEqual(check({ exchange: ASKED, answer: { scope: '' } }).scopes, [])
})

for (const [what, accessToken] of [
  ['an opaque token', 'opaque'],
  ['a token of five parts', 'a.b.c.d.e'],
  ['three parts that are not JSON', 'a.b.c'],
  ['three parts that hold a list', `a.${Buffer.from('[]').toString('base64url')}.c`],
] as const) {
  test(`${what} is judged by the answer alone`, () => {
    const token = check({ answer: { accessToken, expiresIn: 60 }, exchange: ASKED })
    assert.deepEqual([token.value, token.expiresAt], [accessToken, SENT_AT + 60_000])
    refuses({ answer: { accessToken, tokenType: 'n_a' } }, 'token_type')
    refuses({ answer: { accessToken, issuedTokenType: undefined } }, 'issued_token_type')
    refuses({ answer: { accessToken, scope: 'c' }, exchange: ASKED }, 'scope')
  })
}

test('every profile refuses a token of another subject', () => {
  const claims = { iss: IDENTIFIER, sub: 'alice', oid: 'her object', tid: 'her tenant' }
  for (const profile of Object.keys(PROFILES) as (keyof typeof PROFILES)[]) {
    const { issuedTokenTypes, sameUser } = PROFILES[profile]
    const given = { profile, answer: { issuedTokenType: issuedTokenTypes[0] }, subject: { claims } }
    check({ ...given, claims })
    for (const name of sameUser) refuses({ ...given, claims: { ...claims, [name]: 'bob' } }, name)
  }
})

test('a token for several audiences names all of them', () => {
  const exchange = { audience: ['one', 'two'] }
  check({ exchange, claims: { aud: ['two', 'one', 'three'] } })
  refuses({ exchange, claims: { aud: ['one'] } }, 'aud')
  check({ exchange: { ...exchange, expectAudience: 'one' }, claims: { aud: ['one'] } })
})

test('nothing of the issued token is told to the caller', () => {
  assert.throws(() => check({ claims: { sub: 'bob' } }), {
    code: 'exchange_misconfigured',
    message: 'the issued token is not what was asked for',
  })
})

const YEAR = 31_536_000
const DEFAULT = 300
// What `expires_in` says, what `exp` says after the sending, and the seconds that the token lives for; 0: used once.
for (const [expiresIn, exp, seconds] of [
  [3_600, 3_600, 3_600],
  [3_600, undefined, 3_600],
  [3_600, 60, 60],
  [60, 3_600, 60],
  [YEAR, undefined, YEAR],
  [0.5, undefined, 0.5],
  ['300', undefined, 300],
  [undefined, 3_600, 3_600],
  [undefined, undefined, DEFAULT],
  [undefined, -60, -60],
  [3_600, -60, -60],
  [0, 3_600, 0],
  [-1, 3_600, 0],
  [-0, 3_600, 0],
  [Number.NaN, 3_600, 0],
  [Number.POSITIVE_INFINITY, undefined, 0],
  ['Infinity', undefined, 0],
  ['1e999', 3_600, 0],
  ['soon', 3_600, 0],
  ['', 3_600, 0],
  [' ', 3_600, 0],
  ['0', 3_600, 0],
  ['-300', 3_600, 0],
  ['300 seconds', 3_600, 0],
  [null, 3_600, 0],
  [true, 3_600, 0],
  [[300], 3_600, 0],
  [{}, 3_600, 0],
] as const) {
  test(`expires_in ${JSON.stringify(expiresIn)} (${typeof expiresIn}) and exp in ${exp} s: ${seconds} s`, () => {
    const claims = { exp: exp === undefined ? undefined : SENT_AT_SECONDS + exp }
    const { expiresAt } = check({ answer: { expiresIn }, claims })
    assert.equal((expiresAt - SENT_AT) / 1_000, seconds)
  })
}

test('a token whose end is no time is refused: JSON can write numbers that are read as infinite', () => {
  const ending = (exp: string): string => {
    const [header, , signature] = unsignedJwt({}).split('.')
    const text = JSON.stringify({ ...GOOD, exp: 0 }).replace('"exp":0', `"exp":${exp}`)
    return [header, Buffer.from(text).toString('base64url'), signature].join('.')
  }
  check({ answer: { accessToken: ending('4e9') } })
  refuses({ answer: { accessToken: ending('4e999') } }, 'exp')
})

test('the life of a token that does not tell its own is the route’s default', () => {
  const given = { answer: { accessToken: 'opaque', expiresIn: undefined } }
  assert.equal(check(given).expiresAt, SENT_AT + 300_000)
  const own = check({ ...given, exchange: { defaultLifetimeMs: 10_000 } })
  assert.equal(own.expiresAt, SENT_AT + 10_000)
})
