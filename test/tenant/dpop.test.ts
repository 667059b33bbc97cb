import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import {
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWTPayload,
} from 'jose'
import type { ProofOfPossession, Tenant, TenantOptions } from '../../src/tenant/index.ts'
import {
  ask,
  assertRefused,
  exchangeForm,
  ORDERS,
  passwordForm,
  startTenant,
  STOREFRONT,
  tokenOf,
  verified,
  type Answered,
} from './ask.ts'

const pair = generateKeyPair('ES256')

interface Changes {
  readonly claims?: JWTPayload
  readonly header?: object
  readonly key?: CryptoKey
}

/** A proof for the tenant's token endpoint that is good but for these changes. */
async function proofFor(tenant: Tenant, { claims, header, key }: Changes = {}): Promise<string> {
  const { privateKey, publicKey } = await pair
  const jwk = await exportJWK(publicKey)
  const htu = `${tenant.url}oauth/token`
  const iat = Math.floor(Date.now() / 1_000)
  return new SignJWT({ jti: randomUUID(), htm: 'POST', htu, iat, ...claims })
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk, ...header })
    .sign(key ?? privateKey)
}

const OPTIONAL: ProofOfPossession = { mechanism: 'dpop', required: false }

interface Given extends TenantOptions {
  readonly wanted?: ProofOfPossession | null
}

interface Path {
  readonly tenant: Tenant
  /** An exchange for the orders, whose API wants its tokens bound like that. */
  exchange(proof?: string): Promise<Answered>
}

async function pathTo(
  t: TestContext,
  { wanted = OPTIONAL, ...options }: Given = {},
): Promise<Path> {
  const tenant = await startTenant(t, options)
  tenant.state.resourceServers.get(ORDERS)!.proof_of_possession = wanted
  const subject = await tenant.token({ user: 'alice', audience: STOREFRONT })
  const exchange = (proof?: string) =>
    ask(tenant, exchangeForm(subject), proof === undefined ? {} : { dpop: proof })
  return { tenant, exchange }
}

async function assertBound(tenant: Tenant, answered: Answered, bound: boolean): Promise<void> {
  const { claims } = await verified(tenant, tokenOf(answered))
  const jkt = await calculateJwkThumbprint(await exportJWK((await pair).publicKey))
  assert.equal(answered.body['token_type'], bound ? 'DPoP' : 'Bearer')
  assert.deepEqual(claims['cnf'], bound ? { jkt } : undefined)
}

for (const [wanted, withProof, without] of [
  [null, 'unbound', 'unbound'],
  [OPTIONAL, 'bound', 'unbound'],
  [{ mechanism: 'dpop', required: true }, 'bound', 'refused'],
  [{ mechanism: 'dpop', required: true, required_for: 'all_clients' }, 'bound', 'refused'],
  [{ mechanism: 'dpop', required: true, required_for: 'public_clients' }, 'bound', 'unbound'],
  [{ mechanism: 'mtls', required: false }, 'unbound', 'unbound'],
  [{ mechanism: 'mtls', required: true }, 'refused', 'refused'],
] as const) {
  test(`an API that wants ${JSON.stringify(wanted)}: ${withProof} with a proof, ${without} without`, async (t) => {
    const { tenant, exchange } = await pathTo(t, { wanted })
    for (const [proof, outcome] of [
      [await proofFor(tenant), withProof],
      [undefined, without],
    ] as const) {
      const answered = await exchange(proof)
      if (outcome === 'refused') assertRefused(answered, 400, 'invalid_request')
      else await assertBound(tenant, answered, outcome === 'bound')
    }
  })
}

test('a login is bound as well, and a public client may be the one that must', async (t) => {
  const { tenant } = await pathTo(t)
  tenant.state.resourceServers.get(STOREFRONT)!.proof_of_possession = {
    ...{ mechanism: 'dpop', required: true, required_for: 'public_clients' },
  }
  assertRefused(await ask(tenant, passwordForm()), 400, 'invalid_request')
  const proof = { dpop: await proofFor(tenant) }
  await assertBound(tenant, await ask(tenant, passwordForm(), proof), true)
})

for (const [what, changes] of [
  ['of another type', { header: { typ: 'JWT' } }],
  ['for another method', { claims: { htm: 'GET' } }],
  ['for another address', { claims: { htu: 'https://elsewhere.example/oauth/token' } }],
  ['of another time', { claims: { iat: 1_700_000_000 } }],
  ['without a jti', { claims: { jti: '' } }],
] as const) {
  test(`a proof ${what} is refused, where a good one is taken`, async (t) => {
    const { tenant, exchange } = await pathTo(t)
    assertRefused(await exchange(await proofFor(tenant, changes)), 400, 'invalid_dpop_proof')
    await assertBound(tenant, await exchange(await proofFor(tenant)), true)
  })
}

test('a proof that another key has signed is refused, and so is a second use of one', async (t) => {
  const { tenant, exchange } = await pathTo(t)
  const { privateKey: key } = await generateKeyPair('ES256')
  assertRefused(await exchange(await proofFor(tenant, { key })), 400, 'invalid_dpop_proof')
  const proof = await proofFor(tenant)
  await assertBound(tenant, await exchange(proof), true)
  assertRefused(await exchange(proof), 400, 'invalid_dpop_proof')
})

test('a tenant that wants nonces gives one, takes it, and is not served by an old one', async (t) => {
  let now = Date.now()
  const { tenant, exchange } = await pathTo(t, { dpopNonces: true, clock: () => now })
  const claimsAt = (nonce?: string) => ({
    claims: { iat: Math.floor(now / 1_000), ...(nonce !== undefined && { nonce }) },
  })
  const refused = await exchange(await proofFor(tenant, claimsAt()))
  assertRefused(refused, 400, 'use_dpop_nonce')
  const nonce = refused.headers.get('dpop-nonce') ?? ''
  assert.match(nonce, /^[\w-]{43}$/)
  await assertBound(tenant, await exchange(await proofFor(tenant, claimsAt(nonce))), true)
  now += 120_000
  const later = await exchange(await proofFor(tenant, claimsAt(nonce)))
  assertRefused(later, 400, 'use_dpop_nonce')
  assert.notEqual(later.headers.get('dpop-nonce'), nonce)
  // Who brings no proof is not asked for a nonce.
  const unbound = await exchange()
  assert.equal(unbound.headers.get('dpop-nonce'), null)
  await assertBound(tenant, unbound, false)
})

test('on demand a proof is passed over, taken for another, or never good enough', async (t) => {
  const { tenant, exchange } = await pathTo(t)
  tenant.fault({ kind: 'unbound', times: 1 })
  tenant.fault({ kind: 'wrong_cnf', times: 1 })
  tenant.fault({ kind: 'use_dpop_nonce', times: 1 })
  await assertBound(tenant, await exchange(await proofFor(tenant)), false)
  const { claims } = await verified(tenant, tokenOf(await exchange(await proofFor(tenant))))
  assert.deepEqual(claims['cnf'], { jkt: 'A'.repeat(43) })
  assertRefused(await exchange(await proofFor(tenant)), 400, 'use_dpop_nonce')
  await assertBound(tenant, await exchange(await proofFor(tenant)), true)
})
