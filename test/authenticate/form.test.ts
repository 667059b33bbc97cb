import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formOf } from '../../src/authenticate/form.ts'
import { select } from '../../src/authenticate/select.ts'
import { api } from '../support.ts'

for (const [token, form] of [
  ['eyJhbGciOiJSUzI1NiJ9.e30.AA', 'signed'],
  ['ewogImFsZyI6ICJSUzI1NiIgfQ.e30.AA', 'signed'],
  ['eyJhbGciOiJub25lIn0.e30.', 'signed'],
  ['eyJhbGciOiJkaXIifQ..AA.AA.AA', 'encrypted'],
  ['eyJhbGciOiJkaXIifQ.AA.AA.AA.AA.AA', 'opaque'],
  ['eyJhbGciOiJkaXIifQ', 'opaque'],
  ['v1.local.abcdefgh', 'opaque'],
  ['2YotnFZFEjr1zCsicMWpAA', 'opaque'],
  ['', 'opaque'],
] as const) {
  test(`"${token}" is ${form}`, () => assert.equal(formOf(token), form))
}

const REFUSED = { code: 'invalid_token', status: 401 }
const asking = api({ introspection: true })

for (const [what, token, isAsked] of [
  ['of 16 characters', 'a'.repeat(16), true],
  ['of 15 characters', 'a'.repeat(15), false],
  ['of 4096 characters', 'a'.repeat(4_096), true],
  ['of 4097 characters', 'a'.repeat(4_097), false],
  ['with all characters that it may have', 'azAZ09-._~+/azAZ09==', true],
  ['with = within it', 'azAZ09=azAZ09azAZ09', false],
  ['with a percent sign', 'azAZ09%2eazAZ09azAZ09', false],
  ['with a letter beyond ASCII', 'azAZ09äazAZ09azAZ09', false],
  ['with a line after it', `${'a'.repeat(16)}\n`, false],
] as const) {
  test(`an opaque token ${what} is ${isAsked ? '' : 'not '}asked about`, () => {
    if (isAsked) assert.equal(select(token, [asking]), asking)
    else assert.throws(() => select(token, [asking]), REFUSED)
  })
}

test('an opaque token is refused where no issuer is asked', () => {
  assert.throws(() => select('a'.repeat(16), [api({})]), { ...REFUSED, message: /opaque/ })
})

test('a signed token is not looked at any further where it must be encrypted', () => {
  const jwt = 'eyJhbGciOiJSUzI1NiJ9.e30.AA'
  const closed = api({ decryptionKeys: [] })
  assert.throws(() => select(jwt, [closed]), { ...REFUSED, message: /not encrypted/ })
  assert.equal(select(jwt, [closed, asking]), asking)
})

test('a broken JWT is refused, and its issuer not asked about it', () => {
  for (const token of ['eyJhbGciOiJSUzI1NiJ9.e30.AB', 'eyJhbGciOiJSUzI1NiJ9.e30=.AA']) {
    assert.throws(() => select(token, [asking]), REFUSED)
  }
})
