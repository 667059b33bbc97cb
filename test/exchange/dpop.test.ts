import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { inspect } from 'node:util'
import { calculateJwkThumbprint, exportJWK } from 'jose'
import type { Client } from '../../src/config/config.ts'
import { createDpopKey, dpopKeyOf, nonceOf, Nonces } from '../../src/exchange/dpop.ts'
import { verifyProof } from '../proofs.ts'
import { settled } from './by-hand.ts'

const pair = (kind: 'EC' | 'RSA') => {
  const { privateKey, publicKey } =
    kind === 'EC'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2_048 })
  return { pem: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, publicKey }
}
const EC = pair('EC')
const RSA = pair('RSA')

for (const [kind, { pem, publicKey }] of [
  ['EC', EC],
  ['RSA', RSA],
] as const) {
  test(`a proof of an ${kind} key holds for its request, as another library reads it`, async () => {
    const key = createDpopKey(pem)
    assert.equal(key.thumbprint, await calculateJwkThumbprint(await exportJWK(publicKey)))
    const request = { method: 'GET', url: 'https://orders.internal:8443/base/orders/1' }
    const proof = key.proof({
      ...request,
      url: `${request.url}?page=2`,
      nonce: 'n',
      ath: undefined,
    })
    const { thumbprint } = await verifyProof(proof, { ...request, nonce: 'n' })
    assert.equal(thumbprint, key.thumbprint)
    await assert.rejects(verifyProof(proof, { ...request, method: 'HEAD', nonce: 'n' }))
    await assert.rejects(verifyProof(proof, { ...request, nonce: 'm' }))
    await assert.rejects(verifyProof(proof, { ...request, nonce: 'n', accessToken: 'issued' }))
  })
}

test('no two proofs are the same, also of one request', () => {
  const key = createDpopKey()
  const request = { method: 'GET', url: 'https://orders.internal/' }
  const jti = (proof: string): string => {
    const [, claims = ''] = proof.split('.')
    return (JSON.parse(Buffer.from(claims, 'base64url').toString()) as { jti: string }).jti
  }
  const all = Array.from({ length: 50 }, () => jti(key.proof(request)))
  assert.equal(new Set(all).size, 50)
})

test('whatever prints or writes a key sees its thumbprint alone', () => {
  const key = createDpopKey(EC.pem)
  const seen = inspect(key, { depth: 9, showHidden: true }) + JSON.stringify(key)
  assert.ok(seen.includes(key.thumbprint))
  assert.doesNotMatch(seen, /PRIVATE|"d":/)
  for (const line of EC.pem.split('\n').slice(1, -2)) assert.ok(!seen.includes(line))
})

const client = (given: Partial<Client>): Client => ({
  ...{ id: 'gateway', method: 'client_secret_post', secret: 'a secret' },
  ...(given as object),
})

test('a client without a key has one of its own, for as long as the process lives', async () => {
  const [one, other] = [client({}), client({})]
  const key = dpopKeyOf(one).now()
  assert.equal(await dpopKeyOf(one).fresh(), key)
  assert.notEqual(dpopKeyOf(other).now().thumbprint, key.thumbprint)
})

test('two processes with one key have one thumbprint', () => {
  const keys = [client({ dpopKey: { pem: EC.pem } }), client({ dpopKey: { pem: EC.pem } })]
  const [one, other] = keys.map((own) => dpopKeyOf(own).now().thumbprint)
  assert.equal(one, other)
})

test('a key that is replaced is noticed beside the requests, and a broken one is not taken', async (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 })
  const folder = await mkdtemp(join(tmpdir(), 'behalf-'))
  context.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'dpop.key')
  const put = async (text: string): Promise<void> => {
    await writeFile(`${file}.new`, text)
    await rename(`${file}.new`, file)
  }
  await put(EC.pem)
  const keys = dpopKeyOf(client({ dpopKey: { file } }))
  const first = keys.now().thumbprint
  assert.equal(first, createDpopKey(EC.pem).thumbprint)
  // The first look may still be on its way.
  assert.equal((await keys.fresh()).thumbprint, first)
  await put(RSA.pem)
  assert.equal(keys.now().thumbprint, first)
  context.mock.timers.tick(1_000)
  assert.equal(keys.now().thumbprint, first)
  const next = createDpopKey(RSA.pem).thumbprint
  for (let turn = 0; turn < 100_000 && keys.now().thumbprint === first; turn++) await settled()
  assert.equal(keys.now().thumbprint, next)
  await put('half a key')
  assert.equal((await keys.fresh()).thumbprint, next)
  await rm(file)
  assert.equal((await keys.fresh()).thumbprint, next)
})

for (const [nonce, taken] of [
  ['eyJ7S_zG.eyJH0-Z.HX4w-7v', true],
  ['a nonce', false],
  ['a"nonce', false],
  ['', false],
  ['n'.repeat(512), true],
  ['n'.repeat(513), false],
] as const) {
  test(`a nonce of ${nonce.length} characters, ${nonce.slice(0, 9)}, is ${taken ? '' : 'not '}taken`, () => {
    const headers = new Headers({ 'dpop-nonce': nonce })
    assert.equal(nonceOf(headers), taken ? nonce : undefined)
  })
}

test('a nonce is for its origin, and the last one counts', () => {
  const nonces = new Nonces()
  nonces.learn('https://one.example/token', new Headers({ 'dpop-nonce': 'first' }))
  nonces.learn('https://one.example/other', new Headers({ 'dpop-nonce': 'second' }))
  nonces.learn('https://one.example/token', new Headers())
  assert.equal(nonces.for('https://one.example/token'), 'second')
  assert.equal(nonces.for('https://two.example/token'), undefined)
})
