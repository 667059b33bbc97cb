import assert from 'node:assert/strict'
import test from 'node:test'
import type { Exchange } from '../../src/exchange/exchange.ts'
import { unexchanged } from '../../src/exchange/unexchanged.ts'
import { ask, issuedToken, permit } from '../support.ts'

const EXCHANGED = issuedToken({ value: 'exchanged' })

function counted(): { exchange: Exchange; calls: () => number } {
  let calls = 0
  return { exchange: unexchanged(() => (calls++, EXCHANGED)), calls: () => calls }
}

test('a route with an exchange is left to the exchange', () => {
  const { exchange, calls } = counted()
  assert.equal(exchange(permit(), ask()), EXCHANGED)
  assert.equal(calls(), 1)
})

test('passthrough is the subject token itself, at once and for its own life', () => {
  const { exchange, calls } = counted()
  const subject = { value: 'their.own.token', expiresAt: 1_800_000_000_000 }
  const own = permit({
    subject: { ...subject, scopes: new Set(['read']) },
    route: { exchange: { grant: 'passthrough', because: 'it is ours' } },
  })
  assert.deepEqual(exchange(own, ask()), { scheme: 'Bearer', ...subject, scopes: ['read'] })
  assert.equal(calls(), 0)
})

for (const [aud, isTaken] of [
  ['orders', true],
  [['storefront', 'orders'], true],
  ['storefront', false],
  [['storefront'], false],
  [undefined, false],
] as const) {
  test(`a token for ${JSON.stringify(aud)} is ${isTaken ? '' : 'not '}passed through to orders`, () => {
    const exchange = { grant: 'passthrough', because: 'it is ours', expectAudience: 'orders' }
    const given = permit({ subject: { claims: { aud } }, route: { exchange } })
    if (isTaken) assert.ok(counted().exchange(given, ask()))
    else assert.throws(() => counted().exchange(given, ask()), { code: 'not_permitted' })
  })
}

test('a token that is bound to its caller is not passed through, and may be exchanged', () => {
  const exchange = { grant: 'passthrough', because: 'it is ours' }
  for (const confirmation of [
    { key: 'thumbprint', certificate: undefined },
    { key: undefined, certificate: 'thumbprint' },
  ]) {
    const bound = permit({ subject: { confirmation }, route: { exchange } })
    assert.throws(() => counted().exchange(bound, ask()), { code: 'not_permitted' })
    assert.equal(counted().exchange(permit({ subject: { confirmation } }), ask()), EXCHANGED)
  }
})

test('none sends no credentials', () => {
  const { exchange, calls } = counted()
  const token = exchange(permit({ route: { exchange: { grant: 'none' } } }), ask())
  assert.ok(!(token instanceof Promise))
  assert.deepEqual([token.scheme, token.value, calls()], ['none', '', 0])
})

for (const grant of ['passthrough', 'none']) {
  test(`${grant} has no other token to offer to an upstream that refused it`, () => {
    const given = permit({ route: { exchange: { grant, because: 'it is ours' } } })
    const { exchange, calls } = counted()
    assert.throws(() => exchange(given, ask({ instead: issuedToken() })), {
      code: 'upstream_rejected_token',
    })
    assert.equal(calls(), 0)
  })
}
