import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { generateKeyPairSync } from 'node:crypto'
import type { JWK } from 'jose'
import { claimsOf, gateWithKeys, NOW, pair, signed } from './issuer.ts'

const first = pair('ES256', 'first')
const second = pair('ES256', 'second')
const header = (kid: string) => ({ alg: 'ES256', kid })
const REFUSED = { code: 'invalid_token', status: 401 }
const UNAVAILABLE = { code: 'keys_unavailable', status: 503, retryAfter: 1 }
/** While others are known: as long as the key set is not asked for again. */
const UNKNOWN = { ...UNAVAILABLE, retryAfter: 5 }

test('concurrent first tokens fetch the keys once', async (t) => {
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const tokens = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      signed({ ...claimsOf(identifier), sub: `user ${index}` }, header('first'), first.privateKey),
    ),
  )
  await Promise.all(tokens.map((token) => take(token)))
  assert.equal(issued.requests.length, 1)
})

test('keys that cannot be had are an outage, not a bad token', async (t) => {
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const token = await signed(claimsOf(identifier), header('first'), first.privateKey)
  issued.broken = 500
  await assert.rejects(take(token), UNAVAILABLE)
})

for (const document of ['<html>', '[]', '{}', 'null', '{"keys":{}}', '{"keys":[1]}', '']) {
  test(`a key set of ${document || 'nothing'} is an outage, not a bad token`, async (t) => {
    const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [])
    issued.documents.set('/jwks', document)
    const token = await signed(claimsOf(identifier), header('first'), first.privateKey)
    await assert.rejects(take(token), UNAVAILABLE)
  })
}

test('while there are no keys at all, the issuer is asked once a second', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const token = await signed(claimsOf(identifier), header('first'), first.privateKey)
  issued.broken = 500
  for (let count = 0; count < 20; count++) await assert.rejects(take(token), UNAVAILABLE)
  assert.equal(issued.requests.length, 1)
  issued.broken = undefined
  t.mock.timers.tick(999)
  await assert.rejects(take(token), UNAVAILABLE)
  t.mock.timers.tick(1)
  await take(token)
  assert.equal(issued.requests.length, 2)
})

test('known keys outlive their issuer by an hour, and are an outage after it', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const lasting = { ...claimsOf(identifier), exp: NOW / 1_000 + 86_400 }
  const token = await signed(lasting, header('first'), first.privateKey)
  await take(token)
  issued.broken = 500
  t.mock.timers.tick(69 * 60_000)
  await take(token)
  t.mock.timers.tick(60_000)
  await assert.rejects(take(token), UNAVAILABLE)
  issued.broken = undefined
  t.mock.timers.tick(5_000)
  await take(token)
})

test('keys older than ten minutes are renewed behind the request that noticed', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const claims = claimsOf(identifier)
  const token = await signed(claims, header('first'), first.privateKey)
  await take(token)
  issued.documents.set('/jwks', { keys: [second.publicKey] })
  t.mock.timers.tick(10 * 60_000)
  await take(token)
  // The renewal is under way: whoever comes after it is judged by the new set.
  const deadline = performance.now() + 20_000
  while (performance.now() < deadline) {
    const outcome = await take(token).catch((error: unknown) => (error as { code: string }).code)
    if (outcome === 'invalid_token') break
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await assert.rejects(take(token), REFUSED)
  assert.equal(issued.requests.length, 2)
})

test('a rotated key is picked up at its first token', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const claims = claimsOf(identifier)
  await take(await signed(claims, header('first'), first.privateKey))
  issued.documents.set('/jwks', { keys: [first.publicKey, second.publicKey] })
  t.mock.timers.tick(5_000)
  await take(await signed(claims, header('second'), second.privateKey))
  await take(await signed(claims, header('first'), first.privateKey))
  assert.equal(issued.requests.length, 2)
})

test('a flood of unknown key ids makes one request in five seconds, and delays a new key by no more', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const claims = { ...claimsOf(identifier), exp: NOW / 1_000 + 3_600 }
  const good = await signed(claims, header('first'), first.privateKey)
  await take(good)
  const forged = await Promise.all(
    Array.from({ length: 25 }, () => signed(claims, header(randomUUID()), second.privateKey)),
  )
  for (let step = 0; step < 12; step++) {
    t.mock.timers.tick(1_000)
    await Promise.all(forged.map((token) => assert.rejects(take(token), REFUSED)))
    await take(good)
  }
  // At the start, and in twelve seconds twice more.
  assert.equal(issued.requests.length, 3)

  issued.documents.set('/jwks', { keys: [first.publicKey, second.publicKey] })
  const rotated = await signed(claims, header('second'), second.privateKey)
  t.mock.timers.tick(2_000)
  await assert.rejects(take(rotated), REFUSED)
  t.mock.timers.tick(3_000)
  await assert.rejects(take(forged[0]!), REFUSED)
  await take(rotated)
  assert.equal(issued.requests.length, 4)
})

test('an unknown key id is no bad token while the issuer cannot say whose it is', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const claims = claimsOf(identifier)
  const known = await signed(claims, header('first'), first.privateKey)
  const rotated = await signed(claims, header('second'), second.privateKey)
  await take(known)
  issued.broken = 500
  t.mock.timers.tick(5_000)
  await assert.rejects(take(rotated), UNKNOWN)
  await assert.rejects(take(rotated), UNKNOWN)
  await take(known)
  assert.equal(issued.requests.length, 2)

  issued.broken = undefined
  issued.documents.set('/jwks', { keys: [first.publicKey, second.publicKey] })
  t.mock.timers.tick(5_000)
  await take(rotated)
})

const small = generateKeyPairSync('rsa', { modulusLength: 1024 })
const UNUSABLE: Record<string, JWK> = {
  'too small': { ...(small.publicKey.export({ format: 'jwk' }) as JWK), kid: 'odd' },
  incomplete: { kty: 'RSA', e: 'AQAB', kid: 'odd' },
  private: { ...pair('RS256').privateKey, kid: 'odd' },
}
for (const [name, key] of Object.entries(UNUSABLE)) {
  test(`a published key that is ${name} is the issuer's fault, and spoils no other key`, async (t) => {
    const good = pair('RS256', 'good')
    const { take, identifier } = await gateWithKeys(t, ['RS256'], [key, good.publicKey])
    const claims = claimsOf(identifier)
    const odd = await signed(claims, { alg: 'RS256', kid: 'odd' }, good.privateKey)
    await assert.rejects(take(odd), UNKNOWN)
    await take(await signed(claims, { alg: 'RS256', kid: 'good' }, good.privateKey))
  })
}

test('a token without a key id is verified by whichever key matches', async (t) => {
  const { take, identifier, issued } = await gateWithKeys(
    t,
    ['ES256'],
    [first.publicKey, second.publicKey],
  )
  const claims = claimsOf(identifier)
  for (const { privateKey } of [first, second]) {
    assert.equal((await take(await signed(claims, { alg: 'ES256' }, privateKey))).subject, 'alice')
  }
  const stranger = await signed(claims, { alg: 'ES256' }, pair('ES256').privateKey)
  await assert.rejects(take(stranger), REFUSED)
  assert.equal(issued.requests.length, 1)
})

test('a key that is rotated in without a key id is picked up, and a flood of forged tokens asks no more', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const claims = claimsOf(identifier)
  await take(await signed(claims, { alg: 'ES256' }, first.privateKey))
  issued.documents.set('/jwks', { keys: [second.publicKey] })
  t.mock.timers.tick(5_000)
  await take(await signed(claims, { alg: 'ES256' }, second.privateKey))
  assert.equal(issued.requests.length, 2)
  const stranger = pair('ES256')
  for (let count = 0; count < 50; count++) {
    const forged = await signed({ ...claims, jti: count }, { alg: 'ES256' }, stranger.privateKey)
    await assert.rejects(take(forged), REFUSED)
  }
  assert.equal(issued.requests.length, 2)
})

test('a token that names a known key and is not by it is refused without a question', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const claims = claimsOf(identifier)
  await take(await signed(claims, header('first'), first.privateKey))
  t.mock.timers.tick(5_000)
  issued.broken = 500
  await assert.rejects(take(await signed(claims, header('first'), second.privateKey)), REFUSED)
  assert.equal(issued.requests.length, 1)
})

test('a weak key that the issuer mends is taken at its next token', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const good = pair('RS256', 'odd')
  const weak = { ...(small.publicKey.export({ format: 'jwk' }) as JWK), kid: 'odd' }
  const { take, identifier, issued } = await gateWithKeys(t, ['RS256'], [weak])
  const token = await signed(claimsOf(identifier), { alg: 'RS256', kid: 'odd' }, good.privateKey)
  await assert.rejects(take(token), UNKNOWN)
  issued.documents.set('/jwks', { keys: [good.publicKey] })
  t.mock.timers.tick(5_000)
  await take(token)
})

for (const kid of [1, null, ['first'], { toString: 'first' }]) {
  test(`the key id ${JSON.stringify(kid)} is none`, async (t) => {
    const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
    const odd = { alg: 'ES256', kid } as { alg: string }
    await assert.rejects(take(await signed(claimsOf(identifier), odd, first.privateKey)), REFUSED)
    assert.deepEqual(issued.requests, [])
    await take(await signed(claimsOf(identifier), header('first'), first.privateKey))
  })
}

for (const [what, headers, accepted] of [
  ['of the algorithm of the API', { alg: 'ES256' }, true],
  ['of another algorithm', { alg: 'RS256' }, false],
  ['with a critical extension', { alg: 'ES256', crit: ['exp'], exp: 1 }, false],
  ['with b64 alone', { alg: 'ES256', b64: true }, false],
] as const) {
  test(`a header ${what} ${accepted ? 'asks for keys' : 'is refused before anything is fetched'}`, async (t) => {
    const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
    const token = await signed(claimsOf(identifier), header('first'), first.privateKey)
    const [, payload, signature] = token.split('.')
    const odd = Buffer.from(JSON.stringify({ ...headers, kid: 'first' })).toString('base64url')
    const outcome = take(`${odd}.${payload}.${signature}`)
    if (accepted) await outcome
    else await assert.rejects(outcome, REFUSED)
    assert.equal(issued.requests.length, accepted ? 1 : 0)
  })
}

for (const [staleForMs, ages, served] of [
  [60_000, 11 * 60_000 - 1, true],
  [60_000, 11 * 60_000, false],
  [0, 10 * 60_000 - 1, true],
  [0, 10 * 60_000, false],
] as const) {
  test(`with staleFor ${staleForMs} ms, keys of ${ages} ms are ${served ? 'served' : 'an outage'} while the issuer is down`, async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey], {
      staleForMs,
    })
    const claims = { ...claimsOf(identifier), exp: NOW / 1_000 + 86_400 }
    const token = await signed(claims, header('first'), first.privateKey)
    await take(token)
    issued.broken = 503
    t.mock.timers.tick(ages)
    if (served) await take(token)
    else await assert.rejects(take(token), UNAVAILABLE)
  })
}

test('a key set that became malformed is an outage that the known keys outlive', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const claims = { ...claimsOf(identifier), exp: NOW / 1_000 + 86_400 }
  const token = await signed(claims, header('first'), first.privateKey)
  await take(token)
  for (const document of ['<html>', '{"keys":1}', `{"keys":[],"keys":[]}`, 'x'.repeat(1_100_000)]) {
    issued.documents.set('/jwks', document)
    t.mock.timers.tick(10 * 60_000)
    for (let step = 0; step < 3; step++) {
      await take(token)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  issued.documents.set('/jwks', { keys: [first.publicKey] })
  t.mock.timers.tick(5_000)
  await take(token)
})

test('a key set of more than a mebibyte is an outage', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  const keys = JSON.stringify({ keys: [first.publicKey] })
  issued.documents.set('/jwks', keys + ' '.repeat(1_100_000))
  const token = await signed(claimsOf(identifier), header('first'), first.privateKey)
  await assert.rejects(take(token), UNAVAILABLE)
  issued.documents.set('/jwks', keys + ' '.repeat(1_000_000))
  t.mock.timers.tick(1_000)
  await take(token)
})

test('a redirect of the key set is not followed', async (t) => {
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey])
  issued.broken = 302
  const token = await signed(claimsOf(identifier), header('first'), first.privateKey)
  await assert.rejects(take(token), UNAVAILABLE)
})

test('a configured key set needs no discovery', async (t) => {
  const { take, identifier, issued } = await gateWithKeys(t, ['ES256'], [first.publicKey], {
    tokenEndpoint: undefined,
  })
  await take(await signed(claimsOf(identifier), header('first'), first.privateKey))
  assert.deepEqual(issued.requests, ['/jwks'])
})
