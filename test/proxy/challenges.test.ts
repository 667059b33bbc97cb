import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseChallenges, restated } from '../../src/proxy/challenges.ts'

function read(text: string): unknown {
  return parseChallenges(text)?.map(({ scheme, parameters }) => [
    scheme,
    Object.fromEntries(parameters),
  ])
}

for (const [text, challenges] of [
  ['', []],
  ['Bearer', [['bearer', {}]]],
  ['Bearer error="a"', [['bearer', { error: 'a' }]]],
  ['BEARER  Error = a , scope="b c"', [['bearer', { error: 'a', scope: 'b c' }]]],
  ['Bearer a="x\\"y, Basic"', [['bearer', { a: 'x"y, Basic' }]]],
  [
    'Basic realm="a", DPoP algs="ES256", error=b,, Negotiate',
    [
      ['basic', { realm: 'a' }],
      ['dpop', { algs: 'ES256', error: 'b' }],
      ['negotiate', {}],
    ],
  ],
  [
    'Negotiate YWJj==, Bearer error=a',
    [
      ['negotiate', {}],
      ['bearer', { error: 'a' }],
    ],
  ],
] as const) {
  test(`the challenges of ${text || 'nothing'} are read`, () => {
    assert.deepEqual(read(text), challenges)
  })
}

for (const text of [
  'Bearer error="a',
  'Bearer error="a", scope=',
  'Bearer abc=, error="a"',
  'Bearer error="a" scope="b"',
  'Bearer error="a", error="b"',
  'Bearer error="a", ERROR="b"',
  'error="a"',
  'Bearer a b',
  'Bearer "a"',
  'Bearer error="\x00"',
  'Bearer error=a;b',
  `Bearer error="${'a'.repeat(8_192)}"`,
]) {
  test(`${JSON.stringify(text.slice(0, 40))} could be read in two ways, and is not read`, () => {
    assert.equal(read(text), undefined)
  })
}

test('whatever is written as challenges is read back', () => {
  const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9!#$&'*+.^_`|~-]{0,10}$/)
  const value = fc.string({ unit: 'grapheme-ascii' })
  const parameters = fc.dictionary(
    token.map((name) => name.toLowerCase()),
    value,
    { maxKeys: 4, noNullPrototype: true },
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(token, parameters), { maxLength: 4 }), (challenges) => {
      const text = challenges.map(([scheme, named]) => {
        const list = Object.entries(named).map(
          ([name, one]) => `${name}="${one.replace(/["\\]/g, '\\$&')}"`,
        )
        return `${scheme} ${list.join(', ')}`
      })
      const expected = challenges.map(([scheme, named]) => [scheme.toLowerCase(), named])
      assert.deepEqual(read(text.join(', ')), expected)
    }),
  )
})

test('any text is read in no time, or not at all', () => {
  for (const piece of ['"', '\\', '"\\', 'a ', 'a=', 'a="', ', ', ' \t', 'Bearer a="b", ']) {
    const startedAt = performance.now()
    const text = `Bearer a=${piece.repeat(8_180 / piece.length)}`
    for (let times = 0; times < 200; times++) parseChallenges(text)
    assert.ok(performance.now() - startedAt < 10_000, piece)
  }
})

function refusal(...lines: readonly string[]) {
  return restated(lines.flatMap((line) => [Buffer.from('WWW-Authenticate'), Buffer.from(line)]))
}

test('a lack of scope that an upstream tells of is told with the scopes that it names', () => {
  const error = refusal(
    'Bearer error="insufficient_scope", scope="a b", error_description="canary"',
  )
  assert.equal(error?.code, 'insufficient_scope')
  assert.deepEqual(error.scopes, ['a', 'b'])
  assert.ok(!error.message.includes('canary'))
})

test('a step-up that an upstream asks for is told with what it asks for', () => {
  const error = refusal(
    'Basic realm="x"',
    'DPoP error=insufficient_user_authentication, acr_values="urn:mfa urn:otp", max_age=300',
  )
  assert.equal(error?.code, 'insufficient_user_authentication')
  assert.deepEqual(error.stepUp, { acrValues: ['urn:mfa', 'urn:otp'], maxAge: 300 })
})

test('claims that an upstream asks for are told, and not where it says to go with them', () => {
  const claims = '{"access_token":{"nbf":{"essential":true,"value":"1"}}}'
  const carried = Buffer.from(claims).toString('base64')
  const error = refusal(
    `Bearer authorization_uri="https://evil.example", error="insufficient_claims", claims="${carried}"`,
  )
  assert.equal(error?.code, 'insufficient_user_authentication')
  assert.deepEqual(error.stepUp, { claims })
})

for (const [parameters, stepUp] of [
  ['max_age="-1", acr_values="a"', { acrValues: ['a'] }],
  ['max_age="1e9"', {}],
  ['max_age="99999999999"', {}],
  ['acr_values=" a"', {}],
  ['acr_values="a  b"', {}],
  ['acr_values="a\\"b"', {}],
  [`acr_values="${'a'.repeat(1_025)}"`, {}],
  [`claims="${Buffer.from('{"a":1}').toString('base64')}"`, {}],
] as const) {
  test(`of ${parameters.slice(0, 40)} only what has its form is told`, () => {
    const error = refusal(`Bearer error="insufficient_user_authentication", ${parameters}`)
    assert.deepEqual(error?.stepUp, stepUp)
  })
}

for (const lines of [
  [],
  ['Bearer'],
  ['Bearer error="invalid_token"'],
  ['Basic error="insufficient_scope"'],
  ['Bearer error="Insufficient_Scope"'],
  ['Bearer error="insufficient_scope", error="insufficient_scope"'],
]) {
  test(`${JSON.stringify(lines)} asks nothing of the user`, () => {
    assert.equal(refusal(...lines), undefined)
  })
}
