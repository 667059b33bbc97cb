import assert from 'node:assert/strict'
import test from 'node:test'
import type { Bound } from '../../src/config/config.ts'
import { confirmed } from '../../src/exchange/confirmation.ts'
import { createDpopKey } from '../../src/exchange/dpop.ts'
import { ClientIdentity } from '../../src/exchange/identity.ts'
import type { TokenAnswer } from '../../src/exchange/token-endpoint.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'

const KEY = createDpopKey()

function answer(tokenType: string, shown: Partial<TokenAnswer>): TokenAnswer {
  return {
    ...{ accessToken: 'issued', tokenType, scope: undefined },
    ...{ issuedTokenType: undefined, expiresIn: 60 },
    ...shown,
  } as TokenAnswer
}

const wrong = (...given: Parameters<typeof confirmed>): unknown => {
  const outcome = confirmed(...given)
  return 'wrong' in outcome ? outcome.wrong : undefined
}

test(
  'a token is good only for the certificate that the connection showed',
  { skip: NO_OPENSSL },
  () => {
    const authority = createAuthority()
    const identity = new ClientIdentity(authority.issue('gateway'))
    const { thumbprint: other } = new ClientIdentity(authority.issue('another'))
    const own = { 'x5t#S256': identity.thumbprint }
    const good = answer('bearer', { identity })
    assert.deepEqual(confirmed(good, { cnf: own }, 'mtls'), { scheme: 'Bearer', identity })
    for (const claims of [
      {},
      { cnf: {} },
      { cnf: { 'x5t#S256': other } },
      { cnf: { 'x5t#S256': [identity.thumbprint] } },
      { cnf: { ...own, jkt: KEY.thumbprint } },
      { cnf: { jkt: identity.thumbprint } },
      { cnf: [identity.thumbprint] },
      // Nothing tells to what an opaque token is bound.
      undefined,
    ]) {
      assert.equal(wrong(good, claims, 'mtls'), 'cnf', JSON.stringify(claims))
    }
    assert.equal(wrong(answer('bearer', {}), { cnf: own }, 'mtls'), 'cnf')
    assert.equal(wrong(answer('dpop', { identity }), { cnf: own }, 'mtls'), 'token_type')
  },
)

test(
  'a certificate or a proof that was shown binds nothing by itself',
  { skip: NO_OPENSSL },
  () => {
    const identity = new ClientIdentity(createAuthority().issue('gateway'))
    assert.deepEqual(confirmed(answer('bearer', { identity }), {}, undefined), { scheme: 'Bearer' })
    const cnf = { 'x5t#S256': identity.thumbprint }
    assert.equal(wrong(answer('bearer', { identity }), { cnf }, undefined), 'cnf')
    assert.equal(wrong(answer('bearer', { identity }), { cnf }, 'dpop'), 'token_type')
  },
)

for (const bound of ['dpop', undefined] as readonly (Bound | undefined)[]) {
  test(`without a proof that was sent, ${bound ?? 'nothing'} is what a token can be bound to`, () => {
    const claims = bound === undefined ? {} : { cnf: { jkt: KEY.thumbprint } }
    const type = bound === undefined ? 'bearer' : 'dpop'
    assert.equal(wrong(answer(type, {}), claims, bound), bound === undefined ? undefined : 'cnf')
    assert.equal(wrong(answer(type, { key: KEY }), claims, bound), undefined)
  })
}

test(
  'whatever prints or writes an identity sees its thumbprint alone',
  { skip: NO_OPENSSL },
  () => {
    const pair = createAuthority().issue('gateway')
    const identity = new ClientIdentity(pair)
    assert.deepEqual(JSON.parse(JSON.stringify(identity)), { thumbprint: identity.thumbprint })
    assert.deepEqual(Object.keys(Object.assign({}, identity)), ['thumbprint'])
    assert.deepEqual([identity.certificate, identity.key], [pair.certificate, pair.key])
  },
)
