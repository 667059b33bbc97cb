import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { before, test, type TestContext } from 'node:test'
import type { JWK } from 'jose'
import type { SubjectToken } from '../../src/authenticate/authenticate.ts'
import type { Presented } from '../../src/authenticate/bearer.ts'
import { createCheckProof } from '../../src/authenticate/dpop.ts'
import type { DpopConfig, ProofOfPossession } from '../../src/config/possession.ts'
import { GatewayError } from '../../src/errors.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { createMemoryReplayStore, type ReplayStore } from '../../src/store/replay.ts'
import { api, IDENTIFIER, SECRET } from '../support.ts'
import { claimsOf, gate, NOW, signed } from './issuer.ts'
import { holder, ORIGIN, signedBy, type Given, type Holder } from './proofs.ts'

const DPOP: ProofOfPossession & DpopConfig = {
  mechanism: 'dpop',
  required: true,
  exempt: new Set(),
  algorithms: ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256'],
  maxAgeMs: 60_000,
  nonce: undefined,
  replay: undefined,
}
const INVALID_PROOF = { code: 'invalid_dpop_proof', status: 401 }
const INVALID_TOKEN = { code: 'invalid_token', status: 401 }

let alice: Holder
let mallory: Holder
before(async () => {
  alice = await holder()
  mallory = await holder()
})

const issued = (claims: object): Promise<string> =>
  signed({ ...claimsOf(IDENTIFIER), ...claims }, { alg: 'HS256' }, SECRET)

interface World {
  readonly token: string
  /** With a proof of Alice's that is right but for what is given. */
  use(given?: Given, request?: Partial<Presented>): Promise<SubjectToken>
  /** With this very proof. */
  show(proof: string | undefined, request?: Partial<Presented>): Promise<SubjectToken>
}

async function world(t: TestContext, dpop: Partial<typeof DPOP> = {}, by = alice): Promise<World> {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take } = gate(t, { proofOfPossession: { ...DPOP, ...dpop } })
  const token = await issued({ cnf: { jkt: by.jkt } })
  const show: World['show'] = (proof, request = {}) =>
    take(token, { scheme: 'DPoP', proof, origins: [ORIGIN], ...request })
  return {
    token,
    show,
    use: async (given, request) => show(await by.proof(token, given), request),
  }
}

test('a bound token with a proof of its key is taken', async (t) => {
  const { use } = await world(t)
  const { confirmation } = await use()
  assert.deepEqual(confirmation, { key: alice.jkt, certificate: undefined })
})

test('a remembered token needs a proof of its own each time', async (t) => {
  const { use, show } = await world(t)
  await use()
  await assert.rejects(show(undefined), INVALID_PROOF)
  await use()
})

for (const alg of ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256'] as const) {
  test(`a proof that is signed with ${alg} is taken where it is configured, and only there`, async (t) => {
    const by = await holder(alg)
    await (await world(t, {}, by)).use()
    t.mock.timers.reset()
    const others = DPOP.algorithms.filter((other) => other !== alg)
    await assert.rejects((await world(t, { algorithms: others }, by)).use(), INVALID_PROOF)
  })
}

/* RFC 9449, section 4.3, check by check. Check 1, a second header, is in bearer.test.ts. */

for (const [name, wrong] of [
  ['none', () => undefined],
  ['an empty one', () => ''],
  ['something else', () => 'a proof'],
  ['two of them in one header', (proof: string) => `${proof},${proof}`],
  ['one with a space', (proof: string) => `${proof} `],
  ['one without its signature', (proof: string) => proof.replace(/[^.]+$/, '')],
  ['one of four segments', (proof: string) => `${proof}.e30`],
  ['one in another spelling', (proof: string) => respelled(proof)],
] as const) {
  test(`check 2: ${name} is not one well-formed JWT`, async (t) => {
    const { token, show } = await world(t)
    const proof = await alice.proof(token)
    await assert.rejects(show(wrong(proof)), INVALID_PROOF)
    await show(proof)
  })
}

test('check 2: a proof beyond 8192 characters is refused before it is read', async (t) => {
  const { show, use } = await world(t)
  await assert.rejects(show('!'.repeat(8_193)), { ...INVALID_PROOF, message: /too long/ })
  await assert.rejects(show('!'.repeat(8_192)), { ...INVALID_PROOF, message: /one signed JWT/ })
  await use({ claims: { padding: 'x'.repeat(5_000) } })
})

test('check 2: a proof that names a claim twice is refused', async (t) => {
  const { token, show } = await world(t)
  const proof = await alice.proof(token)
  const [header = '', payload = ''] = proof.split('.')
  const doubled = Buffer.from(payload, 'base64url').toString().replace('{', '{"htm":"GET",')
  const [, , signature] = proof.split('.')
  const twice = `${header}.${Buffer.from(doubled).toString('base64url')}.${signature}`
  await assert.rejects(show(twice), { ...INVALID_PROOF, message: /one signed JWT/ })
})

for (const claim of ['jti', 'htm', 'htu', 'iat', 'ath']) {
  test(`check 3: a proof without ${claim} is refused`, async (t) => {
    const { use } = await world(t)
    await assert.rejects(use({ claims: { [claim]: undefined } }), INVALID_PROOF)
    await use()
  })
}

for (const jti of ['', 1, null, 'x'.repeat(257)]) {
  test(`check 3: a jti of ${JSON.stringify(jti).slice(0, 9)} is refused`, async (t) => {
    const { use } = await world(t)
    await assert.rejects(use({ claims: { jti } }), INVALID_PROOF)
    await use({ claims: { jti: 'x'.repeat(256) } })
  })
}

for (const typ of [undefined, 'jwt', 'at+jwt', 'DPOP+JWT', 'application/dpop+jwt', 1]) {
  test(`check 4: typ ${JSON.stringify(typ)} is not dpop+jwt`, async (t) => {
    const { use } = await world(t)
    await assert.rejects(use({ header: { typ } }), INVALID_PROOF)
    await use({ header: { typ: 'dpop+jwt' } })
  })
}

test('check 5: an unsecured proof is refused', async (t) => {
  const { token, show } = await world(t)
  const [, payload] = (await alice.proof(token)).split('.')
  const header = { typ: 'dpop+jwt', alg: 'none', jwk: alice.jwk }
  const unsecured = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${payload}.`
  await assert.rejects(show(unsecured), INVALID_PROOF)
})

test('check 5: a proof that is signed with its own public key as a secret is refused', async (t) => {
  const { show } = await world(t)
  const secret = Buffer.from(JSON.stringify(alice.jwk))
  const jwk = { kty: 'oct', k: secret.toString('base64url') }
  for (const own of [alice.jwk, jwk]) {
    const header = { typ: 'dpop+jwt', alg: 'HS256', jwk: own }
    await assert.rejects(show(await signedBy(secret, header, {})), INVALID_PROOF)
  }
})

test('check 5: an algorithm of another kind of key is refused', async (t) => {
  const by = await holder('RS256')
  const { token, show } = await world(t, {}, by)
  const proof = await by.proof(token)
  const [, ...rest] = proof.split('.')
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: by.jwk }
  const renamed = Buffer.from(JSON.stringify(header)).toString('base64url')
  await assert.rejects(show([renamed, ...rest].join('.')), INVALID_PROOF)
  await show(proof)
})

test('check 6: a proof that another key signed is refused', async (t) => {
  const { token, use, show } = await world(t)
  const forged = await mallory.proof(token, { header: { jwk: alice.jwk } })
  await assert.rejects(show(forged), { ...INVALID_PROOF, message: /signature/ })
  await use()
})

test('check 6: a claim that was changed after signing is noticed', async (t) => {
  const { token, show } = await world(t)
  const [header, payload = '', signature] = (await alice.proof(token)).split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object
  const changed = Buffer.from(JSON.stringify({ ...claims, jti: 'another' })).toString('base64url')
  await assert.rejects(show(`${header}.${changed}.${signature}`), INVALID_PROOF)
})

for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) {
  test(`check 7: a key with the member ${member} is refused`, async (t) => {
    const { use } = await world(t)
    const jwk = { ...alice.jwk, [member]: 'AQAB' }
    await assert.rejects(use({ header: { jwk } }), { ...INVALID_PROOF, message: /private/ })
    await use({ header: { jwk: { ...alice.jwk, kid: 'AQAB', use: 'sig' } } })
  })
}

for (const [name, jwk] of [
  ['no key', undefined],
  ['a list', []],
  ['text', 'key'],
  ['null', null],
  ['an empty one', {}],
  ['one of a kind from a prototype', { kty: 'toString' }],
  ['half a key', { kty: 'EC', crv: 'P-256', x: 'AQAB' }],
  ['a member that is no text', { kty: 'EC', crv: 'P-256', x: 1, y: 2 }],
] as const) {
  test(`check 7: ${name} is not a public key`, async (t) => {
    const { use } = await world(t)
    await assert.rejects(use({ header: { jwk } }), INVALID_PROOF)
  })
}

test('a header that asks for an extension is refused', async (t) => {
  const { token, show } = await world(t)
  const [header = '', ...rest] = (await alice.proof(token)).split('.')
  const members = JSON.parse(Buffer.from(header, 'base64url').toString()) as object
  for (const extension of [{ crit: ['b64'], b64: true }, { b64: false }, { crit: [] }]) {
    const asked = Buffer.from(JSON.stringify({ ...members, ...extension })).toString('base64url')
    await assert.rejects(show([asked, ...rest].join('.')), {
      ...INVALID_PROOF,
      message: /extension/,
    })
  }
})

for (const htm of ['POST', 'get', 'GET ', '', 1, null]) {
  test(`check 8: htm ${JSON.stringify(htm)} is not GET`, async (t) => {
    const { use } = await world(t)
    await assert.rejects(use({ claims: { htm } }), { ...INVALID_PROOF, message: /htm/ })
    await use({ claims: { htm: 'POST' } }, { method: 'POST' })
  })
}

for (const htu of [
  'https://gateway.example/orders',
  'HTTPS://GATEWAY.example/orders',
  'https://gateway.example:443/orders',
  'https://gateway.example/orders?page=2',
  'https://gateway.example/orders#top',
  'https://gateway.example/%6frders',
  'https://gateway.example/stock/../orders',
]) {
  test(`check 9: ${htu} is the address of the request`, async (t) => {
    await (await world(t)).use({ claims: { htu } })
  })
}

for (const htu of [
  'https://gateway.example/',
  'https://gateway.example/orders/',
  'https://gateway.example/orders/1',
  'https://gateway.example/Orders',
  'https://gateway.example//orders',
  'https://gateway.example/orders%2F',
  'http://gateway.example/orders',
  'https://gateway.example:8443/orders',
  'https://gateway.example.evil.example/orders',
  'https://gateway.example@evil.example/orders',
  'https://alice@gateway.example/orders',
  'https:/gateway.example/orders',
  'https:\\\\gateway.example\\orders',
  ' https://gateway.example/orders',
  'https://gateway.example/or\tders',
  '//gateway.example/orders',
  '/orders',
  '',
  1,
  null,
]) {
  test(`check 9: ${JSON.stringify(htu)} is another address`, async (t) => {
    const { use } = await world(t)
    await assert.rejects(use({ claims: { htu } }), { ...INVALID_PROOF, message: /htu/ })
  })
}

test('check 9: an encoded reserved character is compared without regard to the case of its digits', async (t) => {
  const { use } = await world(t)
  await use({ claims: { htu: `${ORIGIN}/a%2bb` } }, { target: '/a%2Bb' })
  await use({ claims: { htu: `${ORIGIN}/a%2Bb` } }, { target: '/a%2bb' })
  const plain = { claims: { htu: `${ORIGIN}/a+b` } }
  await assert.rejects(use(plain, { target: '/a%2Bb' }), INVALID_PROOF)
})

test('check 9: each public origin is an address of the gateway, and without one there is none', async (t) => {
  const { use } = await world(t)
  const origins = ['https://other.example', ORIGIN]
  await use({}, { origins })
  await use({ claims: { htu: 'https://other.example/orders' } }, { origins })
  await assert.rejects(use({}, { origins: [] }), INVALID_PROOF)
})

test('check 10: with a nonce required, a proof without one is told which to name', async (t) => {
  const { use } = await world(t, { nonce: { secret: undefined } })
  const nonce = await nonceOf(use())
  await use({ claims: { nonce } })
  await use({ claims: { nonce } })
  for (const wrong of ['', 'x'.repeat(32), nonce.slice(1), `${nonce}A`, 1, null, changed(nonce)]) {
    assert.notEqual(await nonceOf(use({ claims: { nonce: wrong } })), wrong)
  }
})

test('check 10: a nonce is good for maxAge and the tolerance, then another is given', async (t) => {
  const { use } = await world(t, { nonce: { secret: undefined } })
  const nonce = await nonceOf(use())
  t.mock.timers.tick(64_999)
  await use({ claims: { nonce } })
  t.mock.timers.tick(1)
  const next = await nonceOf(use({ claims: { nonce } }))
  await use({ claims: { nonce: next } })
})

test('check 10: processes with one secret take each other’s nonces, and those with none do not', async (t) => {
  const secret = 'a secret of all replicas, of 32 bytes and more'
  const one = await world(t, { nonce: { secret } })
  t.mock.timers.reset()
  const other = await world(t, { nonce: { secret } })
  t.mock.timers.reset()
  const stranger = await world(t, { nonce: { secret: undefined } })
  const nonce = await nonceOf(one.use())
  await other.use({ claims: { nonce } })
  await nonceOf(stranger.use({ claims: { nonce } }))
})

test('check 10: a nonce that nobody asked for is no fault', async (t) => {
  await (await world(t)).use({ claims: { nonce: 'of another server' } })
})

for (const [seconds, taken] of [
  [0, true],
  [5, true],
  [6, false],
  [-64, true],
  [-65, false],
] as const) {
  test(`check 11: an iat of ${seconds} s from now is ${taken ? 'taken' : 'refused'}`, async (t) => {
    const { use } = await world(t)
    const used = use({ claims: { iat: NOW / 1_000 + seconds } })
    await (taken ? used : assert.rejects(used, INVALID_PROOF))
  })
}

for (const iat of ['1798761600', null, {}, NOW]) {
  test(`check 11: an iat of ${JSON.stringify(iat)} is refused`, async (t) => {
    const { use } = await world(t)
    await assert.rejects(use({ claims: { iat } }), { ...INVALID_PROOF, message: /iat/ })
  })
}

test('check 11: with a nonce the clock of the caller does not matter', async (t) => {
  const { use } = await world(t, { nonce: { secret: undefined } })
  const nonce = await nonceOf(use())
  for (const iat of [0, NOW / 1_000 + 3_600]) await use({ claims: { nonce, iat } })
  await assert.rejects(use({ claims: { nonce, iat: 'now' } }), INVALID_PROOF)
})

test('check 12: a proof for another access token is refused', async (t) => {
  const { use, show } = await world(t)
  const other = await issued({ cnf: { jkt: alice.jkt }, jti: 'another' })
  await assert.rejects(show(await alice.proof(other)), { ...INVALID_PROOF, message: /ath/ })
  await use()
})

test('check 12: the proof of another key makes the token invalid', async (t) => {
  const { token, use, show } = await world(t)
  await assert.rejects(show(await mallory.proof(token)), INVALID_TOKEN)
  await use()
})

/* RFC 9449, section 11.1. */

test('a proof is used once', async (t) => {
  const { token, show } = await world(t)
  const proof = await alice.proof(token)
  await show(proof)
  await assert.rejects(show(proof), { ...INVALID_PROOF, message: /before/ })
})

test('of a hundred that come with one proof at once, one is served', async (t) => {
  const { token, show } = await world(t)
  const proof = await alice.proof(token)
  const all = await Promise.allSettled(Array.from({ length: 100 }, () => show(proof)))
  assert.equal(all.filter(({ status }) => status === 'fulfilled').length, 1)
})

test('a proof is not used again as long as it would be taken', async (t) => {
  const { token, show } = await world(t)
  const proof = await alice.proof(token)
  await show(proof)
  for (let passed = 0; passed < 70_000; passed += 500) {
    t.mock.timers.tick(500)
    await assert.rejects(show(proof), INVALID_PROOF)
  }
})

test('a proof with a nonce is not used again as long as the nonce is good', async (t) => {
  const { token, use, show } = await world(t, { nonce: { secret: undefined } })
  const proof = await alice.proof(token, { claims: { nonce: await nonceOf(use()) } })
  await show(proof)
  for (let passed = 0; passed < 64_500; passed += 500) {
    t.mock.timers.tick(500)
    await assert.rejects(show(proof), INVALID_PROOF)
  }
  t.mock.timers.tick(500)
  await nonceOf(show(proof))
})

test('one jti of two keys, or for two addresses, are two proofs', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const { take } = gate(t, { proofOfPossession: DPOP })
  const claims = { jti: 'the same' }
  for (const by of [alice, mallory]) {
    const token = await issued({ cnf: { jkt: by.jkt } })
    for (const target of ['/orders', '/orders/1']) {
      const proof = await by.proof(token, { claims: { ...claims, htu: ORIGIN + target } })
      await take(token, { scheme: 'DPoP', proof, origins: [ORIGIN], target })
    }
  }
})

test('what another forges uses up nobody’s jti', async (t) => {
  const { token, show, use } = await world(t)
  const claims = { jti: 'mine' }
  await assert.rejects(show(await mallory.proof(token, { header: { jwk: alice.jwk }, claims })))
  await use({ claims })
})

test('where nobody can tell whether a proof was used, it is not taken', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const down = new GatewayError('replay_store_unavailable', 'the store is down')
  const answers: (boolean | Error)[] = [down, false, true]
  const replays: ReplayStore = {
    isFirst: async () => {
      const answer = answers.shift()!
      if (answer instanceof Error) throw answer
      return answer
    },
  }
  const keys = createMemoryStore<never>({ maxEntries: 1, maxBytes: 65_536 })
  const check = createCheckProof({ api: api(), dpop: DPOP, keys, replays })
  const proven = {
    ...{ method: 'GET', origins: [ORIGIN], target: '/orders', key: alice.jkt },
    ...{ proof: await alice.proof('token'), tokenDigest: await athOf('token') },
  }
  await assert.rejects(check(proven), { code: 'replay_store_unavailable', status: 503 })
  await assert.rejects(check(proven), INVALID_PROOF)
  await check(proven)
})

/* Keys. */

test('an RSA key below 2048 bits proves nothing', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1_024 })
  const jwk = publicKey.export({ format: 'jwk' }) as JWK
  const { calculateJwkThumbprint } = await import('jose')
  const weak: Holder = { ...alice, privateKey, jwk, jkt: await calculateJwkThumbprint(jwk) }
  const { token, show } = await world(t, {}, weak)
  const [, payload = ''] = (await alice.proof(token)).split('.')
  const header = { typ: 'dpop+jwt', alg: 'RS256', jwk }
  const input = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${payload}`
  const { sign } = await import('node:crypto')
  const signature = sign('sha256', Buffer.from(input), privateKey).toString('base64url')
  await assert.rejects(show(`${input}.${signature}`), { ...INVALID_PROOF, message: /too small/ })
})

test('a point that is not on its curve is refused', async (t) => {
  const jwk = { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) }
  const { calculateJwkThumbprint } = await import('jose')
  const { use } = await world(t, {}, { ...alice, jkt: await calculateJwkThumbprint(jwk) })
  await assert.rejects(use({ header: { jwk } }), INVALID_PROOF)
})

test('the example of RFC 9449, section 7.1, is a good proof', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_562_262_618_000 })
  const key = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I'
  const keys = createMemoryStore<KeyObject>({
    maxEntries: 1,
    maxBytes: 65_536,
  })
  const check = createCheckProof({
    ...{ api: api(), dpop: DPOP, keys, replays: createMemoryReplayStore() },
  })
  const example = {
    ...{ method: 'GET', origins: ['https://resource.example.org'], target: '/protectedresource' },
    ...{ key, proof: EXAMPLE, tokenDigest: 'fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo' },
  }
  assert.equal(await athOf(EXAMPLE_TOKEN), example.tokenDigest)
  await assert.rejects(check({ ...example, method: 'POST' }), INVALID_PROOF)
  await check(example)
})

const EXAMPLE_TOKEN = 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU'
const EXAMPLE =
  'eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRj' +
  'QyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19' +
  '.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZX' +
  'NvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9' +
  '.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA'

async function athOf(token: string): Promise<string> {
  const bytes = await crypto.subtle.digest('SHA-256', Buffer.from(token))
  return Buffer.from(bytes).toString('base64url')
}

/** The nonce that a refusal gives. */
async function nonceOf(used: Promise<unknown>): Promise<string> {
  const error = await used.then(
    () => assert.fail('was taken'),
    (refusal: unknown) => refusal as GatewayError,
  )
  assert.equal(error.code, 'use_dpop_nonce')
  assert.match(error.dpopNonce ?? '', /^[\w-]{32}$/)
  return error.dpopNonce!
}

function changed(nonce: string): string {
  return (nonce.startsWith('A') ? 'B' : 'A') + nonce.slice(1)
}

/** The same bytes, with other bits where the last character of the signature has none. */
function respelled(proof: string): string {
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return proof.slice(0, -1) + last[last.indexOf(proof.at(-1)!) + 1]
}
