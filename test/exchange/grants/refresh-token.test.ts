import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cached, kept, type Kept } from '../../../src/exchange/cache.ts'
import type { Exchange } from '../../../src/exchange/exchange.ts'
import { bringing } from '../../../src/exchange/redeem.ts'
import { jwtBearerForm } from '../../../src/exchange/grants/jwt-bearer.ts'
import { refreshTokenForm } from '../../../src/exchange/grants/refresh-token.ts'
import { tokenExchangeForm } from '../../../src/exchange/grants/token-exchange.ts'
import { checkIssued } from '../../../src/exchange/issued.ts'
import { exchangeKey, familyKey, refusalKey } from '../../../src/exchange/key.ts'
import { PROFILES } from '../../../src/exchange/profiles.ts'
import { createPurges } from '../../../src/exchange/purge.ts'
import { Successions } from '../../../src/exchange/succession.ts'
import { createMemoryStore } from '../../../src/store/memory.ts'
import { api, ask, IDENTIFIER, issuedToken, permit, unsignedJwt } from '../../support.ts'

const RENEWED = { renew: 'refresh-token', scopes: ['orders:read'] }
const ISSUED_TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const REFRESH_TYPE = 'urn:ietf:params:oauth:token-type:refresh_token'

test('a refresh names the target and the scopes, and nothing of the subject', () => {
  const exchange = { audience: 'https://orders.internal', scopes: ['orders:read'] }
  const form = refreshTokenForm(permit({ route: { exchange } }), PROFILES.auth0, 'the token')
  assert.deepEqual(Object.fromEntries(form), {
    refresh_token: 'the token',
    audience: 'https://orders.internal',
    scope: 'orders:read',
  })
})

for (const profile of ['auth0-legacy', 'rfc8693', 'zitadel'] as const) {
  test(`an exchange that renews asks ${profile} for offline access, and so does its refresh`, () => {
    const renewing = permit({ route: { exchange: RENEWED } })
    const still = permit({ route: { exchange: { scopes: ['orders:read'] } } })
    const scopeOf = (form: URLSearchParams): string | null => form.get('scope')

    assert.equal(
      scopeOf(tokenExchangeForm(renewing, PROFILES[profile])),
      'orders:read offline_access',
    )
    assert.equal(scopeOf(tokenExchangeForm(still, PROFILES[profile])), 'orders:read')
    assert.equal(
      scopeOf(refreshTokenForm(renewing, PROFILES[profile], 'it')),
      'orders:read offline_access',
    )
  })
}

test('Microsoft Entra ID is asked for offline access, too', () => {
  const form = jwtBearerForm(permit({ route: { exchange: RENEWED } }), PROFILES.entra)
  assert.equal(form.get('scope'), 'orders:read offline_access')
})

test('Keycloak is asked by the type, and its answer may say that type', () => {
  const claims = { iss: IDENTIFIER, sub: 'alice', aud: 'https://orders.internal' }
  const answer = (issuedTokenType: string) => ({
    ...{ accessToken: unsignedJwt(claims), tokenType: 'bearer', expiresIn: 60 },
    ...{ scope: 'orders:read profile', issuedTokenType },
  })
  const renewing = permit({ route: { exchange: RENEWED } })
  const still = permit({ route: { exchange: { scopes: ['orders:read'] } } })

  const form = tokenExchangeForm(renewing, PROFILES.keycloak)
  assert.deepEqual(
    [form.get('scope'), form.get('requested_token_type')],
    ['orders:read', REFRESH_TYPE],
  )
  for (const type of [ISSUED_TYPE, REFRESH_TYPE]) {
    assert.ok(checkIssued(answer(type), renewing, PROFILES.keycloak, Date.now()))
  }
  assert.throws(() => checkIssued(answer(REFRESH_TYPE), still, PROFILES.keycloak, Date.now()), {
    code: 'exchange_misconfigured',
  })
})

test('offline access that was asked for is no extra scope, and is none of the token’s', () => {
  const answer = {
    ...{ accessToken: 'opaque', tokenType: 'bearer', issuedTokenType: ISSUED_TYPE, expiresIn: 60 },
    scope: 'orders:read offline_access',
  }
  const renewing = permit({ route: { exchange: RENEWED } })
  const still = permit({ route: { exchange: { scopes: ['orders:read'] } } })

  const { scopes } = checkIssued(answer, renewing, PROFILES.rfc8693, Date.now())
  assert.ok(scopes.includes('orders:read'))
  assert.throws(() => checkIssued(answer, still, PROFILES.rfc8693, Date.now()), {
    code: 'exchange_misconfigured',
  })
})

const CLIENT = { id: 'web', method: 'client_secret_post', secret: 'the secret of the web client' }
const redeems = (changes: object = {}, subject: object = {}) =>
  permit({
    subject,
    route: {
      exchange: {
        ...{ grant: 'refresh-token', client: CLIENT, refreshTokenHeader: 'x-refresh-token' },
        ...{ returnRefreshToken: true, ...changes },
      },
    },
  })

/** The keys of what a request with this refresh token is issued and refused by. */
function keysOf(of = redeems(), refreshToken = 'first'): readonly string[] {
  const successions = new Successions({ maxEntries: 10, maxBytes: 10_000 }, createPurges())
  let keys: readonly string[] = []
  const note = bringing((given) => {
    keys = [exchangeKey(given), refusalKey(given)]
    return issuedToken()
  }, successions)
  void note(of, ask({ refreshToken }))
  return keys
}

test('a refresh token is a part of both keys, its client is, and a secret is not', () => {
  const usual = keysOf()

  assert.deepEqual(keysOf(), usual)
  assert.deepEqual(keysOf(redeems({ client: { ...CLIENT, secret: 'a new one' } })), usual)
  for (const other of [
    keysOf(redeems(), 'second'),
    keysOf(redeems({ client: { ...CLIENT, id: 'other' } })),
    keysOf(redeems({}, { digest: 'digest of another' })),
  ]) {
    for (const [index, key] of other.entries()) assert.notEqual(key, usual[index])
  }
})

test('an opaque token for a refresh token of the caller’s is never used: whose it is, nobody knows', () => {
  const answer = {
    ...{ accessToken: 'opaque', tokenType: 'bearer', issuedTokenType: undefined },
    ...{ expiresIn: 60, scope: undefined },
  }
  assert.throws(() => checkIssued(answer, redeems(), PROFILES.auth0, Date.now(), true), {
    code: 'exchange_misconfigured',
  })
})

test('a request that brings none is refused before anything is looked for', () => {
  const successions = new Successions({ maxEntries: 10, maxBytes: 10_000 }, createPurges())
  const outer = bringing(() => assert.fail('it was exchanged'), successions)

  assert.throws(() => outer(redeems(), ask()), { code: 'invalid_request', status: 400 })
})

test('a family is of one user, one session and one context, whatever the subject token is kept by', () => {
  const of = (claims: object, more: object = {}): string =>
    familyKey(
      permit({
        subject: { claims: { iss: IDENTIFIER, sub: 'alice', sid: 'one', ...claims }, ...more },
        route: { exchange: RENEWED },
      }),
    )
  const usual = of({ exp: 1, jti: 'a' }, { digest: 'one' })

  assert.equal(of({ exp: 2, jti: 'b' }, { digest: 'another' }), usual)
  for (const other of [
    of({ sid: 'two' }),
    of({ acr: 'mfa' }),
    of({ scope: 'more' }),
    of({}, { subject: 'bob' }),
    of({}, { issuer: 'https://other.example/' }),
    of({}, { api: api({ client: { id: 'other', method: 'client_secret_post', secret: 's' } }) }),
  ]) {
    assert.notEqual(other, usual)
  }
})

test('a session that a route ignores in keys still tells families apart', () => {
  const of = (sid: string): string =>
    familyKey(
      permit({
        subject: { claims: { iss: IDENTIFIER, sub: 'alice', sid } },
        route: { exchange: { ...RENEWED, key: 'context', ignoreClaims: ['sid', 'sub'] } },
      }),
    )
  assert.notEqual(of('one'), of('two'))
})

for (const [what, of, outcome] of [
  ['is not renewed ahead of time: nobody would be told of its successor', redeems, 'hit'],
  ['of an exchange is', permit, 'renewed'],
] as const) {
  test(`a token that a caller’s refresh token brought ${what}`, async (t) => {
    const now = Date.parse('2026-11-21T12:00:00Z')
    t.mock.timers.enable({ apis: ['Date'], now })
    const purges = createPurges()
    const bounds = { maxEntries: 10, maxBytes: 100_000 }
    const store = createMemoryStore<Kept>(bounds)
    const life = 600_000
    const issue: Exchange = async () => issuedToken({ expiresAt: Date.now() + life })
    const inner = cached(kept(issue, store, purges), store, purges)
    const outer = bringing(inner, new Successions(bounds, purges))
    const given = of()
    await outer(given, ask({ refreshToken: 'first' }))
    t.mock.timers.tick(life * 0.87)

    const own = ask({ refreshToken: 'first' })
    await outer(given, own)

    assert.equal(own.outcome, outcome)
  })
}
