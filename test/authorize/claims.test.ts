import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fulfils, valueAt } from '../../src/authorize/claims.ts'
import type { ClaimCondition } from '../../src/config/authorize.ts'

const ROLES = 'https://shop.example/roles'

const CLAIMS: Readonly<Record<string, unknown>> = JSON.parse(`{
  "department": "sales",
  "level": 3,
  "email_verified": true,
  "gone": null,
  "${ROLES}": ["buyer", "admin", 7],
  "a.b": "dotted",
  "a": { "b": "nested", "list": ["x"] },
  "realm_access": { "roles": ["editor"] },
  "__proto__": { "polluted": true }
}`) as Readonly<Record<string, unknown>>

type Values = readonly (string | number | boolean)[]
const oneOf = (claim: string | string[], ...values: Values): ClaimCondition => ({
  ...{ claim: [claim].flat(), test: 'oneOf', values },
})
const contains = (claim: string | string[], ...values: Values): ClaimCondition => ({
  ...{ claim: [claim].flat(), test: 'contains', values },
})
const exists = (claim: string | string[], is = true): ClaimCondition => ({
  ...{ claim: [claim].flat(), test: 'exists', exists: is },
})

for (const [condition, twin] of [
  [oneOf('department', 'sales'), oneOf('department', 'Sales')],
  [oneOf('department', 'it', 'sales'), oneOf('department', 'it', 'sale')],
  [oneOf('level', 3), oneOf('level', '3')],
  [oneOf('email_verified', true), oneOf('email_verified', 'true')],
  [contains(ROLES, 'admin'), contains(ROLES, 'adm')],
  [contains(ROLES, 'admin', 'buyer'), contains(ROLES, 'admin', 'owner')],
  [contains(ROLES, 7), contains(ROLES, '7')],
  [contains(['realm_access', 'roles'], 'editor'), contains('realm_access.roles', 'editor')],
  [oneOf('a.b', 'dotted'), oneOf('a.b', 'nested')],
  [oneOf(['a', 'b'], 'nested'), oneOf(['a', 'b'], 'dotted')],
  [exists('department'), exists('Department')],
  [exists('missing', false), exists('department', false)],
  [exists('gone', false), exists('gone')],
  // Text is no list, and a list is not the only thing in it.
  [oneOf('department', 'sales'), contains('department', 'sales')],
  [contains(['a', 'list'], 'x'), oneOf(['a', 'list'], 'x')],
  [contains(['a', 'list'], 'x'), oneOf(['a', 'list', '0'], 'x')],
  [exists(['a', 'list']), exists(['a', 'list', 'length'])],
  [exists('department'), exists(['department', 'length'])],
  // What every object inherits is no claim; what the token says by that name is.
  [exists('constructor', false), exists('constructor')],
  [exists(['a', 'toString'], false), exists(['a', 'toString'])],
  [exists(['__proto__', 'polluted']), exists('polluted')],
] as const) {
  test(`${JSON.stringify(condition)} holds, and ${JSON.stringify(twin)} does not`, () => {
    assert.equal(fulfils(CLAIMS, condition), true)
    assert.equal(fulfils(CLAIMS, twin), false)
  })
}

const name = fc.constantFrom('a', 'b', 'a.b', 'a/b', '__proto__', 'constructor', 'length', '0', '')
const scalar = fc.oneof(
  fc.constantFrom('', 'a', 'b', 'A', '1', 'true', 'null'),
  fc.integer({ min: -2, max: 2 }),
  fc.boolean(),
)
const { value: json } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'json' },
    scalar,
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.array(fc.tuple(name, tie('value')), { maxLength: 4 }).map(parsedObject),
  ),
}))

/** As a token's claims are made: a `__proto__` in JSON is a member like any other. */
function parsedObject(members: readonly (readonly [string, unknown])[]): object {
  const texts = members.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`)
  return JSON.parse(`{${texts.join(',')}}`) as object
}

const claims = fc
  .array(fc.tuple(name, json), { maxLength: 5 })
  .map((members) => parsedObject(members) as Readonly<Record<string, unknown>>)
const way = fc.array(name, { minLength: 1, maxLength: 3 })

/** What JSON text says at the end of a way, read by its entries and not by names. */
function expected(value: unknown, [next, ...rest]: readonly string[]): unknown {
  if (next === undefined) return value === null ? undefined : value
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const member = Object.entries(value).find(([key]) => key === next)
  return member === undefined ? undefined : expected(member[1], rest)
}

test('what is found is what the JSON of the token says, whatever names it holds', () => {
  fc.assert(
    fc.property(claims, way, (said, to) => {
      assert.deepEqual(valueAt(said, to), expected(said, to))
    }),
    { numRuns: 3_000 },
  )
})

test('a condition holds exactly where the value in the JSON says so', () => {
  fc.assert(
    fc.property(
      claims,
      way,
      fc.array(scalar, { minLength: 1, maxLength: 3 }),
      (said, to, values) => {
        const found = expected(said, to)
        const texts = values.map((value) => JSON.stringify(value))
        const isScalar = typeof found !== 'object' && found !== undefined
        assert.equal(
          fulfils(said, { claim: to, test: 'oneOf', values }),
          isScalar && texts.includes(JSON.stringify(found)),
        )
        const held = Array.isArray(found)
          ? found.map((one: unknown) => (typeof one === 'object' ? '' : JSON.stringify(one)))
          : []
        assert.equal(
          fulfils(said, { claim: to, test: 'contains', values }),
          texts.every((text) => held.includes(text)),
        )
        const isThere = fulfils(said, { claim: to, test: 'exists', exists: true })
        assert.equal(isThere, found !== undefined)
        assert.equal(fulfils(said, { claim: to, test: 'exists', exists: false }), !isThere)
      },
    ),
    { numRuns: 3_000 },
  )
})
