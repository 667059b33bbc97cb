import assert from 'node:assert/strict'
import test from 'node:test'
import { exchangeKey } from '../../../src/exchange/key.ts'
import { keepFor } from '../../../src/exchange/lifetime.ts'
import { ask, IDENTIFIER, issuedToken, permit, unsignedJwt } from '../../support.ts'
import { issuerThat, permitAt } from './issuer.ts'

const ROUTE = {
  profile: 'rfc8693',
  exchange: { grant: 'client-credentials', audience: 'orders', scopes: ['read'] },
} as const
const GOOD = { token_type: 'Bearer', expires_in: 60 }

test('the API’s own token is asked for, and nothing of the subject is sent', async (context) => {
  const access_token = unsignedJwt({ iss: IDENTIFIER, sub: 'gateway@clients', aud: 'orders' })
  const { exchange, asked } = await issuerThat(context, () => ({ body: { access_token, ...GOOD } }))
  const token = await exchange(permitAt(ROUTE), ask())
  assert.equal(token.value, access_token)
  assert.deepEqual(asked[0]!.form, [
    ['audience', 'orders'],
    ['client_id', 'gateway'],
    ['client_secret', 'secret'],
    ['grant_type', 'client_credentials'],
    ['scope', 'read'],
  ])
})

for (const [name, wrong] of [
  ['aud', 'another'],
  ['iss', 'https://another.example/'],
] as const) {
  test(`the API’s own token with another ${name} is refused`, async (context) => {
    const claims = { iss: IDENTIFIER, aud: 'orders', [name]: wrong }
    const body = { access_token: unsignedJwt(claims), ...GOOD }
    const { exchange } = await issuerThat(context, () => ({ body }))
    await assert.rejects(async () => exchange(permitAt(ROUTE), ask()), {
      code: 'exchange_misconfigured',
    })
  })
}

for (const error of ['invalid_grant', 'invalid_request', 'access_denied', 'interaction_required']) {
  test(`${error} for the API’s own token is no fault of the caller's`, async (context) => {
    const { exchange } = await issuerThat(context, () => ({ status: 400, body: { error } }))
    await assert.rejects(async () => exchange(permitAt(ROUTE), ask()), {
      code: 'exchange_misconfigured',
    })
  })
}

test('the API’s own token is one for all subjects, where an exchanged one is each subject’s', () => {
  const keyOf = (grant: string, digest: string): string =>
    exchangeKey(permit({ subject: { digest }, route: { exchange: { grant } } }))
  assert.equal(keyOf('client-credentials', 'one'), keyOf('client-credentials', 'other'))
  assert.notEqual(keyOf('token-exchange', 'one'), keyOf('token-exchange', 'other'))
  assert.notEqual(keyOf('client-credentials', 'one'), keyOf('token-exchange', 'one'))
})

test('the API’s own token is kept beyond the life of the token that it was first had for', () => {
  const now = Date.now()
  const token = issuedToken({ expiresAt: now + 600_000 })
  const keptFor = (grant: string): number =>
    keepFor(
      permit({ subject: { expiresAt: now + 1_000 }, route: { exchange: { grant } } }),
      token,
      now,
    )
  assert.equal(keptFor('client-credentials'), 570_000)
  assert.equal(keptFor('token-exchange'), 900)
})
