/** What one user does with refresh tokens, to the issuer's budget and to the others. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, rotatingWorld } from '../exchange/rotating.ts'

test('a caller that makes refresh tokens up costs a few exchanges, and nobody else their turn', async (t) => {
  const world = await rotatingWorld(t)
  const [alice, mallory] = [await world.login(), await world.login('carol')]
  const guess = (at: number): string => `v1.made-up-${String(at).padStart(40, '0')}`

  const answers = []
  for (let at = 0; at < 20; at++) {
    answers.push(await call(world, '/orders', { ...mallory, refreshToken: guess(at) }))
  }

  assert.deepEqual([answers[0]?.status, answers[0]?.code], [401, 'invalid_token'])
  assert.deepEqual([answers.at(-1)?.status, answers.at(-1)?.code], [429, 'rate_limited'])
  assert.ok(world.refreshes() <= 5, `${world.refreshes()} refreshes were sent`)
  assert.equal((await call(world, '/orders', alice)).status, 200)
})

test('who had one refused, and brings a good one, is served', async (t) => {
  const world = await rotatingWorld(t)
  const alice = await world.login()
  const made = { ...alice, refreshToken: 'v1.made-up' }
  assert.equal((await call(world, '/orders', made)).status, 401)
  assert.equal((await call(world, '/orders', alice)).status, 200)
})

test('a refresh token that brings something unfit is its caller’s misfortune alone', async (t) => {
  const world = await rotatingWorld(t)
  const [alice, mallory] = [await world.login(), await world.login('carol')]
  assert.equal((await call(world, '/orders', alice)).status, 200)
  // As issuers do that pass over an audience which a login did not cover.
  world.tenant.fault({ kind: 'wrong_aud', grantType: 'refresh_token', times: 1 })

  const unfit = await call(world, '/orders', mallory)
  const bob = await call(world, '/orders', await world.login())

  assert.deepEqual([unfit.status, unfit.code], [502, 'exchange_misconfigured'])
  assert.deepEqual([bob.status, bob.code], [200, undefined])
})

test('what a refresh token brought that was unfit, or another user’s, is not asked for again at once', async (t) => {
  const world = await rotatingWorld(t)
  const [alice, mallory] = [await world.login(), await world.login('carol')]
  world.tenant.fault({ kind: 'wrong_aud', grantType: 'refresh_token', times: 1 })
  const stolen = { ...mallory, refreshToken: alice.refreshToken }
  const unfit = await call(world, '/orders', mallory)
  const foreign = await call(world, '/inventory', stolen)
  assert.deepEqual([unfit.code, foreign.code], ['exchange_misconfigured', 'not_permitted'])

  for (let at = 0; at < 10; at++) {
    assert.equal((await call(world, '/orders', mallory)).code, 'exchange_misconfigured')
    assert.equal((await call(world, '/inventory', stolen)).code, 'not_permitted')
  }

  assert.equal(world.refreshes(), 2)
  assert.equal((await call(world, '/inventory', alice)).status, 200)
})
