import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { createIntrospectingVerifier } from '../../src/authenticate/introspect.ts'
import type { Answered } from '../../src/authenticate/introspected.ts'
import type { Verifier } from '../../src/authenticate/verify.ts'
import { GatewayError } from '../../src/errors.ts'
import { api, AUDIENCE, issuer } from '../support.ts'

const REFUSED = { code: 'invalid_token', status: 401 }
const NOW = Date.parse('2027-01-01T00:00:00Z')
const ISSUER = 'https://issuer.example/'
const TOKEN = 'an-opaque-token-of-alice'

const GOOD: Answered = {
  ...{ active: true, sub: 'alice', aud: AUDIENCE, iss: ISSUER, token_type: 'Bearer' },
  ...{ scope: 'read:orders', client_id: 'spa', exp: NOW / 1_000 + 3_600 },
}

const jwts: Verifier = {
  verify: () => Promise.reject(new Error('it was taken for a JWT')),
  epoch: () => 'the epoch',
}

interface Setting {
  readonly asked: string[]
  readonly verifier: Verifier
  answer: (token: string) => Answered | Promise<Answered>
}

function setting(t: TestContext, answer: Setting['answer'] = () => GOOD): Setting {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const made: Setting = {
    asked: [],
    answer,
    verifier: createIntrospectingVerifier({
      api: api({
        issuer: issuer({ identifiers: [ISSUER, 'https://login.example/'] }),
        introspection: true,
      }),
      introspect: async (token) => {
        made.asked.push(token)
        return made.answer(token)
      },
      jwts,
    }),
  }
  return made
}

test('what the issuer says of a token is what its claims say', async (t) => {
  const { verifier } = setting(t)
  const { claims, issuer: of, scopes, value, epoch } = await verifier.verify(TOKEN)
  const { active: _, ...members } = GOOD
  assert.deepEqual({ ...claims }, members)
  assert.deepEqual([of, scopes, value, epoch], [ISSUER, ['read:orders'], TOKEN, 'the epoch'])
})

for (const [what, members] of [
  ['active is false', { active: false }],
  ['active is text', { active: 'true' }],
  ['no active', { active: undefined }],
  ['another iss', { iss: 'https://other.example/' }],
  ['an iss that is no string', { iss: [ISSUER] }],
  ['another aud', { aud: 'another' }],
  ['no aud', { aud: undefined }],
  ['no sub', { sub: undefined }],
  ['a sub that is empty', { sub: '' }],
  ['an exp that has passed', { exp: NOW / 1_000 - 60 }],
  ['an exp that is text', { exp: '1893456000' }],
  ['an iat to come', { iat: NOW / 1_000 + 60 }],
  ['an nbf that is text', { nbf: 'now' }],
  ['scopes in a list', { scope: ['read:orders'] }],
  ['no token_type, as of a refresh token', { token_type: undefined }],
  ['token_type N_A', { token_type: 'N_A' }],
  ['token_type refresh_token', { token_type: 'refresh_token' }],
  ['token_use refresh_token', { token_use: 'refresh_token' }],
  ['typ Refresh', { typ: 'Refresh' }],
  ['token_type DPoP without its key', { token_type: 'DPoP' }],
] as const) {
  test(`an answer with ${what} refuses the token, and one without that takes it`, async (t) => {
    const made = setting(t, () => ({ ...GOOD, ...members }))
    await assert.rejects(made.verifier.verify(TOKEN), REFUSED)
    made.answer = () => GOOD
    assert.equal((await made.verifier.verify(`${TOKEN}-2`)).claims.sub, 'alice')
  })
}

for (const [what, members] of [
  ['no iss', { iss: undefined }],
  ['the other iss of the issuer', { iss: 'https://login.example/' }],
  ['several audiences', { aud: [AUDIENCE, 'another'] }],
  ['token_type bearer in lower case', { token_type: 'bearer' }],
  ['token_use access_token', { token_use: 'access_token' }],
  ['typ Bearer', { typ: 'Bearer' }],
  ['no scope', { scope: undefined }],
  ['a key and its token_type', { token_type: 'DPoP', cnf: { jkt: 'x'.repeat(42) + 'A' } }],
] as const) {
  test(`an answer with ${what} takes the token`, async (t) => {
    const { verifier } = setting(t, () => ({ ...GOOD, ...members }))
    assert.equal((await verifier.verify(TOKEN)).claims.sub, 'alice')
  })
}

test('a token whose end nobody tells ends in a minute', async (t) => {
  const { verifier } = setting(t, () => ({ ...GOOD, exp: undefined }))
  assert.equal((await verifier.verify(TOKEN)).claims.exp, NOW / 1_000 + 60)
})

test('requests with one token wait for one answer, and a later one asks again', async (t) => {
  const { verifier, asked } = setting(t)
  await Promise.all([1, 2, 3].map(() => verifier.verify(TOKEN)))
  assert.equal(asked.length, 1)
  await verifier.verify(TOKEN)
  assert.equal(asked.length, 2)
})

test('a refusal is remembered for five seconds, of that token alone', async (t) => {
  const { verifier, asked } = setting(t, (token) => ({ ...GOOD, active: token === 'b'.repeat(20) }))
  for (let round = 0; round < 3; round++) await assert.rejects(verifier.verify(TOKEN), REFUSED)
  assert.equal(asked.length, 1)
  await verifier.verify('b'.repeat(20))
  t.mock.timers.tick(5_001)
  await assert.rejects(verifier.verify(TOKEN), REFUSED)
  assert.deepEqual(asked, [TOKEN, 'b'.repeat(20), TOKEN])
})

test('an outage says nothing of the token: it is told as it is, and asked again', async (t) => {
  const outage = new GatewayError('exchange_unavailable', 'gone', { retryAfter: 1 })
  const made = setting(t, () => Promise.reject(outage))
  for (let round = 0; round < 2; round++) {
    await assert.rejects(made.verifier.verify(TOKEN), { code: 'exchange_unavailable', status: 503 })
  }
  made.answer = () => GOOD
  assert.equal((await made.verifier.verify(TOKEN)).claims.sub, 'alice')
  assert.equal(made.asked.length, 3)
})

test('an issuer that wants to be left alone is, until it said', async (t) => {
  const throttled = { retryAfter: 7, throttled: true }
  const made = setting(t, () =>
    Promise.reject(new GatewayError('exchange_unavailable', 'slower', throttled)),
  )
  const refused = { code: 'exchange_unavailable', retryAfter: 7 }
  for (let round = 0; round < 3; round++) {
    await assert.rejects(made.verifier.verify(`${TOKEN}-${round}`), refused)
  }
  assert.equal(made.asked.length, 1)
  made.answer = () => GOOD
  t.mock.timers.tick(7_000)
  await made.verifier.verify(TOKEN)
  assert.equal(made.asked.length, 2)
})

test('a flood of made-up tokens does not become one at the issuer', async (t) => {
  const { verifier, asked } = setting(t, () => ({ active: false }))
  const codes = new Map<unknown, number>()
  for (let second = 0; second < 10; second++) {
    for (let index = 0; index < 200; index++) {
      await verifier.verify(`made-up-${second}-${index}-token`).catch(({ code }: GatewayError) => {
        codes.set(code, (codes.get(code) ?? 0) + 1)
      })
    }
    t.mock.timers.tick(1_000)
  }
  // A hundred at once, and twenty each second.
  assert.equal(asked.length, 100 + 9 * 20)
  assert.deepEqual(
    codes,
    new Map([
      ['invalid_token', 280],
      ['overloaded', 2_000 - 280],
    ]),
  )
})

test('a flood of made-up tokens is nothing to those whose tokens are known to be good', async (t) => {
  const made = setting(t)
  await made.verifier.verify(TOKEN)
  made.answer = (token) => (token === TOKEN || token.startsWith('new') ? GOOD : { active: false })
  const flood = async (): Promise<void> => {
    for (let index = 0; index < 200; index++) {
      await made.verifier.verify(`made-up-${Date.now()}-${index}`).catch(() => undefined)
    }
  }
  for (let minute = 0; minute < 5; minute++) {
    await flood()
    assert.equal((await made.verifier.verify(TOKEN)).claims.sub, 'alice')
    await assert.rejects(made.verifier.verify('new-token-of-bob'), { code: 'overloaded' })
    t.mock.timers.tick(60_000)
  }

  // One that is revoked is as good as made up.
  made.answer = () => ({ active: false })
  await assert.rejects(made.verifier.verify(TOKEN), REFUSED)
  t.mock.timers.tick(6_000)
  await flood()
  await assert.rejects(made.verifier.verify(TOKEN), { code: 'overloaded' })
})

test('an issuer that is down, or refuses odd tokens by an error, is not flooded either', async (t) => {
  const gone = new GatewayError('exchange_unavailable', 'gone', { retryAfter: 1 })
  const made = setting(t, () => Promise.reject(gone))
  for (let index = 0; index < 200; index++) {
    await made.verifier.verify(`made-up-${index}-token`).catch(() => undefined)
  }
  assert.equal(made.asked.length, 100)
  await assert.rejects(made.verifier.verify(TOKEN), { code: 'overloaded', retryAfter: 1 })
  made.answer = () => GOOD
  t.mock.timers.tick(1_000)
  assert.equal((await made.verifier.verify(TOKEN)).claims.sub, 'alice')
})

test('any number of good tokens is asked about', async (t) => {
  const { verifier, asked } = setting(t)
  for (let index = 0; index < 1_000; index++) await verifier.verify(`${TOKEN}-${index}`)
  assert.equal(asked.length, 1_000)
})

test('at most 64 questions are underway at once', async (t) => {
  let answerAll = (): void => undefined
  const answered = new Promise<void>((resolve) => (answerAll = resolve))
  const { verifier, asked } = setting(t, () => answered.then(() => GOOD))
  const verifying = Array.from({ length: 70 }, (_, index) => verifier.verify(`${TOKEN}-${index}`))
  const results = Promise.allSettled(verifying)
  answerAll()
  const refused = (await results).filter(({ status }) => status === 'rejected')
  assert.deepEqual([asked.length, refused.length], [64, 6])
  assert.equal((await verifier.verify(TOKEN)).claims.sub, 'alice')
})

test('a JWT is no question for the issuer', async (t) => {
  const { verifier, asked } = setting(t)
  await assert.rejects(verifier.verify('eyJhbGciOiJSUzI1NiJ9.e30.AA'), /taken for a JWT/)
  assert.equal(asked.length, 0)
})
