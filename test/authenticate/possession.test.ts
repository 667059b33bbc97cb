import assert from 'node:assert/strict'
import { before, test, type TestContext } from 'node:test'
import type { SubjectToken } from '../../src/authenticate/authenticate.ts'
import type { Presented } from '../../src/authenticate/bearer.ts'
import type { ProofOfPossession } from '../../src/config/possession.ts'
import { IDENTIFIER, SECRET } from '../support.ts'
import { claimsOf, gate, signed } from './issuer.ts'
import { holder, ORIGIN, type Holder } from './proofs.ts'

const INVALID = { code: 'invalid_token', status: 401 }
const CERTIFICATE = 'A'.repeat(43)
const ANOTHER = 'E'.repeat(43)

let alice: Holder
before(async () => (alice = await holder()))

const dpop = (given: Partial<ProofOfPossession> = {}): ProofOfPossession => ({
  ...{ mechanism: 'dpop', required: true, exempt: new Set(), nonce: undefined },
  ...{ algorithms: ['ES256'], maxAgeMs: 60_000, replay: undefined },
  ...(given as object),
})
const mtls = (given: Partial<ProofOfPossession> = {}): ProofOfPossession => ({
  ...{ mechanism: 'mtls', required: true, exempt: new Set() },
  ...(given as object),
})

type Take = (claims: object, request?: Partial<Presented>) => Promise<SubjectToken>

interface Ways {
  readonly bearer: Take
  /** With the certificate {@link CERTIFICATE}. */
  readonly shown: Take
  /** With the scheme DPoP and a proof of Alice's. */
  readonly proven: Take
  readonly both: Take
}

function api(t: TestContext, proofOfPossession?: ProofOfPossession): Ways {
  const { take } = gate(t, { proofOfPossession })
  const bearer: Take = async (claims, request) => {
    const said = { ...claimsOf(IDENTIFIER), ...claims }
    return take(await signed(said, { alg: 'HS256' }, SECRET), request)
  }
  const certificate = (): string => CERTIFICATE
  const proven: Take = async (claims, request) => {
    const said = { ...claimsOf(IDENTIFIER), ...claims }
    const token = await signed(said, { alg: 'HS256' }, SECRET)
    const proof = await alice.proof(token)
    return take(token, { scheme: 'DPoP', proof, origins: [ORIGIN], ...request })
  }
  return {
    bearer,
    proven,
    shown: (claims) => bearer(claims, { certificate }),
    both: (claims) => proven(claims, { certificate }),
  }
}

const boundToKey = (): object => ({ cnf: { jkt: alice.jkt } })
const boundToCertificate = { cnf: { 'x5t#S256': CERTIFICATE } }

test('an API that asks for nothing takes tokens that are bound to nothing', async (t) => {
  assert.equal((await api(t).bearer({})).confirmation, undefined)
})

test('an API that asks for nothing does not take a token that is bound to a key', async (t) => {
  const { bearer, proven } = api(t)
  await assert.rejects(bearer(boundToKey()), INVALID)
  await assert.rejects(proven(boundToKey()), { code: 'missing_token' })
})

test('an API that asks for nothing takes a token with the certificate that it is bound to, and not without', async (t) => {
  const { bearer, shown } = api(t)
  await shown(boundToCertificate)
  await assert.rejects(bearer(boundToCertificate), INVALID)
  await assert.rejects(shown({ cnf: { 'x5t#S256': ANOTHER } }), INVALID)
})

test('no certificate is looked for where a token is bound to none', async (t) => {
  const certificate = (): never => assert.fail('was looked for')
  await api(t).bearer({}, { certificate })
})

for (const cnf of [
  {},
  null,
  false,
  'key',
  [],
  { jkt: 1 },
  { jkt: '' },
  { jkt: 'x' },
  { jkt: null },
  { 'x5t#S256': CERTIFICATE.slice(1) },
  { 'x5t#S256': `${CERTIFICATE}=` },
  { 'x5t#S256': `${CERTIFICATE.slice(1)}B` },
  { 'x5t#S256': CERTIFICATE, jwk: {} },
  { 'x5t#S256': CERTIFICATE, kid: 'x' },
  { jwk: {} },
  { jku: 'https://evil.example' },
]) {
  test(`cnf ${JSON.stringify(cnf)} is a condition that nobody meets`, async (t) => {
    const { both } = api(t, dpop())
    await assert.rejects(both({ cnf }), INVALID)
    await assert.rejects(api(t).shown({ cnf }), INVALID)
    await both(boundToKey())
  })
}

test('what is no thumbprint is met by nothing, whatever is shown', async (t) => {
  for (const shown of ['x', `${CERTIFICATE}=`]) {
    const cnf = { 'x5t#S256': shown }
    await assert.rejects(api(t).bearer({ cnf }, { certificate: () => shown }), INVALID)
  }
})

test('a token that is bound to a key is refused as Bearer, with its proof beside it too (RFC 9449, section 7.2)', async (t) => {
  for (const required of [true, false]) {
    const { bearer, proven } = api(t, dpop({ required }))
    await assert.rejects(bearer(boundToKey()), INVALID)
    await assert.rejects(proven(boundToKey(), { scheme: 'Bearer' }), INVALID)
    await proven(boundToKey())
  }
})

test('a token that is bound to no key is refused as DPoP', async (t) => {
  const { bearer, proven, both } = api(t, dpop({ required: false }))
  await assert.rejects(proven({}), INVALID)
  await assert.rejects(both(boundToCertificate), INVALID)
  await bearer({})
})

test('what is bound to a key and a certificate needs both', async (t) => {
  const { both, proven, shown } = api(t, dpop())
  const claims = { cnf: { jkt: alice.jkt, 'x5t#S256': CERTIFICATE } }
  await both(claims)
  await assert.rejects(proven(claims), INVALID)
  await assert.rejects(shown(claims), INVALID)
})

test('a remembered token is judged by the certificate of each request', async (t) => {
  const { take, verifications } = gate(t, { proofOfPossession: mtls() })
  const claims = { ...claimsOf(IDENTIFIER), ...boundToCertificate }
  const token = await signed(claims, { alg: 'HS256' }, SECRET)
  await take(token, { certificate: () => CERTIFICATE })
  await assert.rejects(take(token, { certificate: () => ANOTHER }), INVALID)
  await assert.rejects(take(token), INVALID)
  await take(token, { certificate: () => CERTIFICATE })
  assert.equal(verifications(), 1)
})

test('where DPoP is required, a token must be bound to a key', async (t) => {
  const { bearer, shown, proven } = api(t, dpop())
  await assert.rejects(bearer({}), INVALID)
  await assert.rejects(shown(boundToCertificate), INVALID)
  await proven(boundToKey())
})

test('where a certificate is required, a token must be bound to one', async (t) => {
  const { bearer, shown } = api(t, mtls())
  await assert.rejects(bearer({}), INVALID)
  await assert.rejects(shown({}), INVALID)
  await shown(boundToCertificate)
})

test('where it is optional, what is bound needs its proof, and what is not comes without', async (t) => {
  const { bearer, shown } = api(t, mtls({ required: false }))
  await bearer({})
  await shown(boundToCertificate)
  await assert.rejects(bearer(boundToCertificate), INVALID)
})

test('where public clients alone must, the confidential ones are named, and nobody else is exempt', async (t) => {
  for (const possession of [dpop, mtls]) {
    const { bearer } = api(t, possession({ exempt: new Set(['backend']) }))
    await bearer({ azp: 'backend' })
    await bearer({ client_id: 'backend' })
    for (const claims of [{ azp: 'spa' }, {}, { azp: 'Backend' }, { sub: 'backend' }]) {
      await assert.rejects(bearer(claims), INVALID)
    }
    await assert.rejects(bearer({ azp: 'backend', ...boundToKey() }), INVALID)
    await assert.rejects(bearer({ azp: 'backend', ...boundToCertificate }), INVALID)
  }
})
