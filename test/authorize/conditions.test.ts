import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { authorize, judge } from '../../src/authorize/authorize.ts'
import { conditionsOf } from '../../src/authorize/conditions.ts'
import type { AuthorizeConfig } from '../../src/config/authorize.ts'
import type { Api } from '../../src/config/config.ts'
import { GatewayError } from '../../src/errors.ts'
import { api, IDENTIFIER, issuer, route, subject } from '../support.ts'

const NOW = Date.parse('2027-01-01T00:00:00Z')
const SECONDS = NOW / 1_000
const AUTH0 = api({ issuer: issuer({ profile: 'auth0' }) })

interface Case {
  readonly needs: Partial<AuthorizeConfig>
  /** Claims that may pass, and others that differ in one thing and may not. */
  readonly passes: object
  readonly fails: object
  readonly of?: Api
}

const actors = { allow: undefined, required: false, maxDepth: undefined }
const chain = (...[sub, ...before]: readonly string[]): object => ({
  ...{ sub },
  ...(before.length > 0 && { act: chain(...before) }),
})

const NOT_PERMITTED: Readonly<Record<string, readonly Case[]>> = {
  subject: [
    { needs: { subject: 'user' }, passes: { azp: 'spa' }, fails: { azp: 'alice' } },
    { needs: { subject: 'user' }, passes: { azp: 'spa' }, fails: {} },
    { needs: { subject: 'client' }, passes: { azp: 'alice' }, fails: { azp: 'spa' } },
    { needs: { subject: 'client' }, passes: { azp: 'alice' }, fails: {} },
    {
      needs: { subject: 'user' },
      passes: { azp: 'spa' },
      fails: { azp: 'spa', gty: 'client-credentials' },
      of: AUTH0,
    },
  ],
  clients: [
    { needs: { clients: ['spa'] }, passes: { azp: 'spa' }, fails: { azp: 'cli' } },
    { needs: { clients: ['cli', 'spa'] }, passes: { client_id: 'spa' }, fails: {} },
    {
      needs: { clients: ['spa'] },
      passes: { azp: 'spa' },
      fails: { azp: 'spa', client_id: 'cli' },
    },
    { needs: { clients: ['spa'] }, passes: { azp: 'spa' }, fails: { azp: ['spa'] } },
  ],
  organizations: [
    {
      needs: { organizations: ['org_1'] },
      passes: { org_id: 'org_1' },
      fails: { org_id: 'org_2' },
    },
    {
      needs: { organizations: ['org_1'] },
      passes: { org_id: 'org_1', org_name: 'shop' },
      // A name that looks like an id is a name all the same.
      fails: { org_name: 'org_1' },
    },
    {
      needs: { organizations: ['org_1'] },
      passes: { org_id: 'org_1' },
      fails: { org_id: ['org_1'] },
    },
  ],
  'actors.required': [
    { needs: { actors: { ...actors, required: true } }, passes: { act: chain('a') }, fails: {} },
  ],
  'actors.allow': [
    {
      needs: { actors: { ...actors, allow: ['gateway'] } },
      passes: { act: chain('gateway', 'spa') },
      // RFC 8693, section 4.1: those before it are history.
      fails: { act: chain('spa', 'gateway') },
    },
    { needs: { actors: { ...actors, allow: ['a'] } }, passes: {}, fails: { act: {} } },
    {
      needs: { actors: { ...actors, allow: ['a'] } },
      passes: { act: { sub: 'a', iss: IDENTIFIER } },
      fails: { act: { sub: 'a', iss: 'https://else.example/' } },
    },
  ],
  'actors.maxDepth': [
    {
      needs: { actors: { ...actors, maxDepth: 2 } },
      passes: { act: chain('a', 'b') },
      fails: { act: chain('a', 'b', 'c') },
    },
    { needs: { actors: { ...actors, maxDepth: 0 } }, passes: {}, fails: { act: chain('a') } },
  ],
  mayAct: [
    {
      needs: { mayAct: 'check' },
      passes: { may_act: { sub: 'storefront-client' } },
      fails: { may_act: { sub: 'another-client' } },
    },
    {
      needs: { mayAct: 'check' },
      passes: { may_act: { client_id: 'storefront-client', iss: IDENTIFIER } },
      fails: { may_act: { client_id: 'storefront-client', iss: 'https://else.example/' } },
    },
    { needs: { mayAct: 'check' }, passes: {}, fails: { may_act: {} } },
    { needs: { mayAct: 'check' }, passes: {}, fails: { may_act: 'storefront-client' } },
    { needs: { mayAct: 'check' }, passes: {}, fails: { may_act: null } },
    {
      needs: { mayAct: 'check' },
      passes: { may_act: { sub: 'storefront-client', client_id: 'storefront-client' } },
      fails: { may_act: { sub: 'alice', client_id: 'storefront-client' } },
    },
    { needs: { mayAct: 'require' }, passes: { may_act: { sub: 'storefront-client' } }, fails: {} },
  ],
  'claims[0]': [
    {
      needs: { claims: [{ claim: ['department'], test: 'oneOf', values: ['sales'] }] },
      passes: { department: 'sales' },
      fails: { department: 'it' },
    },
  ],
  'claims[1]': [
    {
      needs: {
        claims: [
          { claim: ['department'], test: 'oneOf', values: ['sales'] },
          { claim: ['https://x/roles'], test: 'contains', values: ['admin'] },
        ],
      },
      passes: { department: 'sales', 'https://x/roles': ['admin'] },
      fails: { department: 'sales', 'https://x/roles': [] },
    },
  ],
  authorizationDetails: [
    {
      needs: { authorizationDetails: ['payment', 'account'] },
      passes: { authorization_details: [{ type: 'account' }, { type: 'payment', amount: 1 }] },
      fails: { authorization_details: [{ type: 'account' }] },
    },
    {
      needs: { authorizationDetails: ['payment'] },
      passes: { authorization_details: [{ type: 'payment' }] },
      fails: { authorization_details: { type: 'payment' } },
    },
    {
      needs: { authorizationDetails: ['payment'] },
      passes: { authorization_details: [null, 'payment', { type: 'payment' }] },
      fails: { authorization_details: [null, 'payment', {}] },
    },
  ],
}

function ofAlice(claims: object, of: Api = api()): ReturnType<typeof subject> {
  return subject({ api: of, claims: { iss: IDENTIFIER, sub: 'alice', ...claims } })
}

for (const [option, cases] of Object.entries(NOT_PERMITTED)) {
  for (const { needs, passes, fails, of } of cases) {
    const [pass, fail] = [JSON.stringify(passes), JSON.stringify(fails)]
    test(`where ${JSON.stringify(needs)} is needed, ${pass} may pass and ${fail} may not`, () => {
      const to = route({ authorize: needs })
      authorize(ofAlice(passes, of), to)
      assert.throws(() => authorize(ofAlice(fails, of), to), { code: 'not_permitted', status: 403 })
      const verdicts = judge(ofAlice(fails, of), to)
      assert.deepEqual(
        verdicts.filter(({ holds }) => !holds).map((verdict) => verdict.option),
        [option],
      )
    })
  }
}

test('where nothing may be said of may_act, it decides nothing', () => {
  const claims = { may_act: { sub: 'another-client' } }
  authorize(ofAlice(claims), route({ authorize: { mayAct: 'ignore' } }))
  assert.throws(() => authorize(ofAlice(claims), route()), { code: 'not_permitted' })
})

const STEP_UP: readonly Case[] = [
  { needs: { acrValues: ['gold'] }, passes: { acr: 'gold' }, fails: { acr: 'silver' } },
  { needs: { acrValues: ['gold', 'phr'] }, passes: { acr: 'phr' }, fails: {} },
  { needs: { acrValues: ['gold'] }, passes: { acr: 'gold' }, fails: { acr: ['gold'] } },
  {
    needs: { maxAgeMs: 300_000 },
    passes: { auth_time: SECONDS - 305 },
    fails: { auth_time: SECONDS - 306 },
  },
  { needs: { maxAgeMs: 300_000 }, passes: { auth_time: SECONDS }, fails: {} },
  {
    needs: { maxAgeMs: 300_000 },
    passes: { auth_time: SECONDS + 5 },
    // Nobody has authenticated in the future, however wrong the clocks may be.
    fails: { auth_time: SECONDS + 6 },
  },
  {
    needs: { maxAgeMs: 300_000 },
    passes: { auth_time: SECONDS },
    fails: { auth_time: `${SECONDS}` },
  },
  {
    needs: { acrValues: ['gold'], maxAgeMs: 300_000 },
    passes: { acr: 'gold', auth_time: SECONDS },
    fails: { acr: 'gold', auth_time: SECONDS - 1_000 },
  },
  {
    needs: { acrValues: ['gold'], maxAgeMs: 300_000 },
    passes: { acr: 'gold', auth_time: SECONDS },
    fails: { acr: 'silver', auth_time: SECONDS },
  },
]

for (const { needs, passes, fails } of STEP_UP) {
  const [pass, fail] = [JSON.stringify(passes), JSON.stringify(fails)]
  test(`where ${JSON.stringify(needs)} is needed, ${pass} may pass and ${fail} is challenged`, (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const to = route({ authorize: needs })
    authorize(ofAlice(passes), to)
    assert.throws(() => authorize(ofAlice(fails), to), {
      code: 'insufficient_user_authentication',
      status: 401,
      // RFC 9470, section 3: all that is needed, whichever of it is lacking.
      stepUp: {
        ...(needs.acrValues && { acrValues: needs.acrValues }),
        ...(needs.maxAgeMs && { maxAge: needs.maxAgeMs / 1_000 }),
      },
    })
  })
}

test('an authentication that was recent enough is not any more when its time is over', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const to = route({ authorize: { maxAgeMs: 60_000 } })
  const of = ofAlice({ auth_time: SECONDS })
  t.mock.timers.tick(65_000)
  authorize(of, to)
  t.mock.timers.tick(1)
  assert.throws(() => authorize(of, to), { code: 'insufficient_user_authentication' })
})

test('nobody is asked to authenticate again who could not pass all the same', () => {
  const needs = { acrValues: ['gold'], scopes: ['a'], clients: ['spa'] }
  const to = route({ authorize: needs })
  const code = (claims: object, scopes: string[]): unknown => {
    try {
      authorize({ ...ofAlice(claims), scopes: new Set(scopes) }, to)
    } catch (error) {
      return error instanceof GatewayError ? error.code : error
    }
    return 'permitted'
  }
  assert.equal(code({ azp: 'cli' }, []), 'not_permitted')
  assert.equal(code({ azp: 'spa' }, []), 'insufficient_scope')
  assert.equal(code({ azp: 'spa' }, ['a']), 'insufficient_user_authentication')
  assert.equal(code({ azp: 'spa', acr: 'gold' }, ['a']), 'permitted')
})

test('what a refusal tells the caller holds nothing of the token, and nobody who is let in', () => {
  const needs = { clients: ['let-in'], organizations: ['let-in'], acrValues: ['gold'] }
  for (const condition of conditionsOf(
    route({ authorize: { ...needs, actors: { ...actors, allow: ['let-in'] } } }),
  )) {
    assert.doesNotMatch(condition.refusal().message, /let-in|alice/)
  }
})

const anySubset = (...items: readonly string[]): fc.Arbitrary<string[]> => fc.subarray([...items])

const EVERYTHING = fc.record({
  scopes: anySubset('a', 'b'),
  anyScope: anySubset('a', 'b'),
  permissions: anySubset('p'),
  subject: fc.constantFrom('user', 'client', 'any'),
  clients: fc.subarray(['spa', 'cli'], { minLength: 1 }),
  organizations: fc.constant(['org_1']),
  claims: fc.subarray([
    { claim: ['level'], test: 'oneOf', values: [1, 2] },
    { claim: ['gone'], test: 'exists', exists: false },
  ] as AuthorizeConfig['claims'][number][]),
  mayAct: fc.constantFrom('check', 'require', 'ignore'),
  acrValues: fc.constant(['gold']),
})

/** A few at a time: hardly anybody fulfils them all. */
const anyNeeds: fc.Arbitrary<Partial<AuthorizeConfig>> = EVERYTHING.chain((everything) =>
  fc
    .subarray(Object.entries(everything), { maxLength: 3 })
    .map((some) => Object.fromEntries(some) as Partial<AuthorizeConfig>),
)

const anyClaims = fc.record(
  {
    sub: fc.constantFrom('alice', 'spa'),
    azp: fc.constantFrom('spa', 'cli', 7),
    org_id: fc.constantFrom('org_1', 'org_2'),
    level: fc.constantFrom(1, '1', null),
    gone: fc.boolean(),
    acr: fc.constantFrom('gold', 'silver'),
    may_act: fc.constantFrom({ sub: 'storefront-client' }, { sub: 'other' }, 'x'),
  },
  { requiredKeys: ['sub'] },
)

test('authorize permits exactly what judge finds nothing against, and refuses by its first objection', () => {
  let permitted = 0
  fc.assert(
    fc.property(anyNeeds, anyClaims, anySubset('a', 'b'), (needs, claims, scopes) => {
      const to = route({ authorize: needs })
      const of = { ...subject({ claims }), scopes: new Set(scopes) }
      const objection = judge(of, to).find(({ holds }) => !holds)
      if (objection === undefined) {
        authorize(of, to)
        permitted++
        return
      }
      const condition = conditionsOf(to).find(({ option }) => option === objection.option)!
      const { code, message } = condition.refusal()
      assert.throws(() => authorize(of, to), { code, message })
    }),
    { numRuns: 3_000 },
  )
  assert.ok(permitted > 100, `${permitted} were permitted`)
})

test('a verdict names the option, what it needs and what the token says', () => {
  const needs = { scopes: ['a'], clients: ['spa'], mayAct: 'ignore', maxAgeMs: 300_000 } as const
  const of = { ...ofAlice({ azp: 'cli' }), scopes: new Set(['a', 'b']) }
  assert.deepEqual(judge(of, route({ authorize: needs })), [
    { option: 'clients', needs: ['spa'], found: 'cli', holds: false },
    { option: 'scopes', needs: ['a'], found: ['a', 'b'], holds: true },
    { option: 'maxAge', needs: '5m', found: undefined, holds: false },
  ])
})

test('a route that asks for nothing has no conditions to pay for', () => {
  assert.deepEqual(conditionsOf(route({ authorize: { mayAct: 'ignore' } })), [])
})

test('the conditions of a route are made once', () => {
  const to = route({ authorize: { scopes: ['a'] } })
  assert.equal(conditionsOf(to), conditionsOf(to))
})
