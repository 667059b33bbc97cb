import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAuthenticate } from '../../src/authenticate/authenticate.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { IDENTIFIER, presented, route, SECRET } from '../support.ts'
import { claimsOf, gate, gateWithKeys, NOW, pair, signed } from './issuer.ts'

const first = pair('ES256', 'first')
const second = pair('ES256', 'second')
const REFUSED = { code: 'invalid_token', status: 401 }

const hs256 = (claims: Record<string, unknown>): Promise<string> =>
  signed(claims, { alg: 'HS256' }, SECRET)

test('a token that was verified is not verified again', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued, verifications } = await gateWithKeys(
    t,
    ['ES256'],
    [first.publicKey],
  )
  const token = await signed(claimsOf(identifier), { alg: 'ES256', kid: 'first' }, first.privateKey)
  const subject = await take(token)
  assert.equal(await take(token), subject)
  t.mock.timers.tick(59_999)
  assert.equal(await take(token), subject)
  assert.equal(verifications(), 1)
  assert.deepEqual(issued.requests, ['/jwks'])
})

test('a verified token is remembered for a minute, then verified again', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, verifications } = gate(t, {})
  const token = await hs256(claimsOf(IDENTIFIER))
  await take(token)
  t.mock.timers.tick(60_001)
  await take(token)
  assert.equal(verifications(), 2)
})

test('a remembered token is refused once it has expired', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, verifications } = gate(t, { clockToleranceMs: 0 })
  const token = await hs256({ ...claimsOf(IDENTIFIER), exp: NOW / 1_000 + 10 })
  await take(token)
  t.mock.timers.tick(9_999)
  await take(token)
  assert.equal(verifications(), 1)
  t.mock.timers.tick(1)
  await assert.rejects(take(token), REFUSED)
})

test('a remembered token is judged by the clock also when the clock is set back', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take } = gate(t, { clockToleranceMs: 0 })
  const token = await hs256({ ...claimsOf(IDENTIFIER), nbf: NOW / 1_000 })
  await take(token)
  t.mock.timers.setTime(NOW - 10_000)
  await assert.rejects(take(token), REFUSED)
})

test('a token that is verified in its last milliseconds is good or late, and never a defect', async (t) => {
  // The clock moves on at each look, as it may between any two statements.
  let now = NOW
  t.mock.method(Date, 'now', () => now++)
  const { take } = gate(t, { clockToleranceMs: 0 })
  const outcomes = new Set<string>()
  for (let left = 1; left <= 20; left++) {
    const claims = { ...claimsOf(IDENTIFIER), iat: 0, exp: NOW / 1_000, jti: `${left}` }
    const token = await hs256(claims)
    now = NOW - left
    const outcome = take(token).then(
      () => 'good',
      (error: unknown) => String((error as { code?: unknown }).code),
    )
    outcomes.add(await outcome)
  }
  assert.deepEqual([...outcomes], ['invalid_token', 'good'])
})

test('refusals are not remembered', async (t) => {
  const { take, remembered } = gate(t, {})
  const claims = claimsOf(IDENTIFIER)
  for (const wrong of [{ aud: 'x' }, { exp: 1 }, { cnf: {} }, { iss: 'x' }]) {
    await assert.rejects(take(await hs256({ ...claims, ...wrong })), REFUSED)
  }
  assert.equal(remembered(), 0)
  await take(await hs256(claims))
  assert.equal(remembered(), 1)
})

test('a key that leaves the key set takes what it verified with it', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(
    t,
    ['ES256'],
    [first.publicKey, second.publicKey],
  )
  const header = { alg: 'ES256' }
  const claims = claimsOf(identifier)
  const leaving = await signed(claims, { ...header, kid: 'first' }, first.privateKey)
  const staying = await signed(claims, { ...header, kid: 'second' }, second.privateKey)
  await take(leaving)
  await take(staying)

  issued.documents.set('/jwks', { keys: [second.publicKey] })
  t.mock.timers.tick(6_000)
  // Somebody else's token, of a key that nobody knows, has the set fetched anew.
  const unknown = await signed(claims, { ...header, kid: 'unknown' }, first.privateKey)
  await assert.rejects(take(unknown), REFUSED)
  assert.equal(issued.requests.length, 2)

  await assert.rejects(take(leaving), REFUSED)
  await take(staying)
})

test('what one API remembers is nothing to another', async (t) => {
  const one = gate(t, { name: 'one' })
  const two = gate(t, { name: 'two', verification: { kind: 'secret', secrets: ['x'.repeat(32)] } })
  const token = await hs256(claimsOf(IDENTIFIER))
  await one.take(token)
  await assert.rejects(two.take(token), REFUSED)
})

test('a route whose API has no verifier is a defect, never a way in', async () => {
  const authenticate = createAuthenticate({
    verifiers: new Map(),
    verified: createMemoryStore({ maxEntries: 1, maxBytes: 1_000 }),
  })
  const token = await hs256(claimsOf(IDENTIFIER))
  await assert.rejects(async () => authenticate(presented(token), route()), TypeError)
})
