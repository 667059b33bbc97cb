import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { Exchange } from '../../../src/exchange/exchange.ts'
import { ask, IDENTIFIER, unsignedJwt } from '../../support.ts'
import { issuerThat, permitAt, type Answer } from './issuer.ts'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const DELEGATED = permitAt({
  profile: 'rfc8693',
  exchange: { audience: 'orders', delegation: true },
})
const ISSUED = {
  access_token: unsignedJwt({ iss: IDENTIFIER, sub: 'alice', aud: 'orders' }),
  token_type: 'Bearer',
  issued_token_type: ACCESS_TOKEN,
  expires_in: 60,
}

/** An issuer whose actor tokens are numbered; how many it gave, and which were used. */
async function delegating(
  context: TestContext,
  actor: (count: number) => Answer = (count) => ({
    body: { access_token: `actor-${count}`, token_type: 'Bearer', expires_in: 100 },
  }),
): Promise<{ exchange: Exchange; actors: () => number; used: string[] }> {
  let actors = 0
  const used: string[] = []
  const { exchange } = await issuerThat(context, (form) => {
    if (form.get('grant_type') === 'client_credentials') return actor(++actors)
    used.push(`${form.get('actor_token')} ${form.get('actor_token_type')}`)
    return { body: ISSUED }
  })
  return { exchange, actors: () => actors, used }
}

test('the API’s own token is sent as the actor’s', async (context) => {
  const { exchange, used } = await delegating(context)
  await exchange(DELEGATED, ask())
  assert.deepEqual(used, [`actor-1 ${ACCESS_TOKEN}`])
})

test('without delegation nobody acts', async (context) => {
  const { exchange, actors, used } = await delegating(context)
  await exchange(permitAt({ profile: 'rfc8693', exchange: { audience: 'orders' } }), ask())
  assert.deepEqual([actors(), used], [0, ['null null']])
})

test('one actor token does for all exchanges until it is about to expire', async (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 })
  const { exchange, actors, used } = await delegating(context)
  await Promise.all([1, 2, 3].map(async () => exchange(DELEGATED, ask())))
  context.mock.timers.tick(89_999)
  await exchange(DELEGATED, ask())
  assert.equal(actors(), 1)
  context.mock.timers.tick(1)
  await exchange(DELEGATED, ask())
  assert.equal(actors(), 2)
  assert.equal(used.at(-1), `actor-2 ${ACCESS_TOKEN}`)
})

test('an actor token that was refused is asked for again, and its refusal is ours to mend', async (context) => {
  const { exchange, actors } = await delegating(context, (count) =>
    count === 1
      ? { status: 400, body: { error: 'invalid_grant' } }
      : { body: { access_token: 'actor', token_type: 'Bearer', expires_in: 100 } },
  )
  await assert.rejects(async () => exchange(DELEGATED, ask()), { code: 'exchange_misconfigured' })
  assert.equal((await exchange(DELEGATED, ask())).value, ISSUED.access_token)
  assert.equal(actors(), 2)
})

for (const answer of [
  { access_token: 'a b', token_type: 'Bearer' },
  { access_token: 'actor', token_type: 'N_A' },
]) {
  test(`${JSON.stringify(answer)} is no actor token`, async (context) => {
    const { exchange, used } = await delegating(context, () => ({ body: answer }))
    await assert.rejects(async () => exchange(DELEGATED, ask()), { code: 'exchange_misconfigured' })
    assert.deepEqual(used, [])
  })
}
