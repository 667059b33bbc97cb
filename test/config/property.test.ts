import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { stringify } from 'yaml'
import { readConfig } from '../../src/config/load.ts'
import { yamlSource } from '../../src/config/source.ts'
import { durationText } from '../../src/config/units.ts'
import { faultsOf, SECRET, told } from './given.ts'

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{0,12}$/)
const segment = fc
  .stringMatching(/^[A-Za-z0-9\-._~!$&'()*+,=:@]{1,8}$/)
  .filter((text) => text !== '.' && text !== '..')
const path = fc.array(segment, { maxLength: 3 }).map((segments) => `/${segments.join('/')}`)
const word = fc.string({ minLength: 1 }).filter((text) => !text.includes('${'))
const duration = fc.integer({ min: 1, max: 86_400 }).map((seconds) => durationText(seconds * 1_000))
const scopes = fc.array(fc.stringMatching(/^[a-z:.]{1,9}$/), { maxLength: 3 })
const methods = fc.uniqueArray(fc.constantFrom('GET', 'HEAD', 'POST', 'PUT'), { minLength: 1 })
const maybe = { requiredKeys: [] }

const issuer = fc.record({
  profile: fc.constantFrom('auth0', 'auth0-legacy', 'rfc8693', 'keycloak', 'zitadel'),
  more: fc.record({ budget: fc.record({ rate: fc.integer({ min: 1, max: 99 }) }) }, maybe),
})

const verification = fc.oneof(
  fc.record({ algorithms: fc.uniqueArray(fc.constantFrom('RS256', 'ES256'), { minLength: 1 }) }),
  fc.record({ signingSecret: word.map((text) => text + SECRET) }),
)

const comparand = fc.oneof(word, fc.boolean(), fc.integer())
const claim = fc.oneof(
  fc.record({ claim: word, equals: comparand }),
  fc.record({ claim: fc.array(word, { minLength: 1 }), contains: comparand }),
  fc.record({ claim: word, oneOf: fc.array(comparand, { minLength: 1 }) }),
  fc.record({ claim: word, exists: fc.boolean() }),
)

const route = fc.record({
  match: fc.record({ path }),
  more: fc.record({ methods }, maybe),
  authorize: fc.record(
    {
      ...{ scopes, anyScope: scopes },
      clients: fc.array(word, { minLength: 1, maxLength: 2 }),
      claims: fc.array(claim, { maxLength: 2 }),
      actors: fc.record({ allow: fc.tuple(word), required: fc.boolean() }, maybe),
      maxAge: duration,
    },
    maybe,
  ),
  takesAll: fc.boolean(),
  exchange: fc.record(
    {
      maxAge: duration,
      scopes,
      key: fc.constantFrom('token', 'context'),
      grant: fc.constantFrom('token-exchange', 'client-credentials'),
      parameters: fc.dictionary(
        fc.stringMatching(/^x_[a-z]{1,5}$/),
        fc.oneof(word, fc.constant(null), fc.constant({ rename: 'y' })),
        { maxKeys: 1 },
      ),
    },
    maybe,
  ),
  proxy: fc.record({ timeout: duration, cookies: fc.constantFrom('strip', 'keep') }, maybe),
})

const configuration = fc
  .record({
    names: fc.uniqueArray(name, { minLength: 2, maxLength: 4 }),
    issuer,
    verification,
    client: fc.record({ id: word, secret: word }),
    routes: fc.uniqueArray(route, {
      minLength: 1,
      maxLength: 4,
      selector: ({ match }) => match.path,
    }),
  })
  .map(({ names, issuer: { profile, more }, verification: verified, client, routes }) => {
    const issuers = names.map((one) => [
      one,
      { issuer: `https://${one}.example/`, profile, ...more },
    ])
    const apis = names.map((one) => [one, { issuer: one, audience: one, client, ...verified }])
    return {
      issuers: Object.fromEntries(issuers) as Record<string, object>,
      apis: Object.fromEntries(apis) as Record<string, object>,
      routes: routes.map(
        ({ match, more: matched, exchange, proxy, authorize, takesAll }, index) => ({
          match: { ...match, ...matched },
          authenticate: takesAll ? { apis: names } : { api: names[index % names.length]! },
          authorize,
          exchange: { audience: 'target', ...exchange },
          proxy: { upstream: 'http://127.0.0.1:9001', ...proxy },
        }),
      ),
    }
  })

test('every valid configuration is read, and says the same as an object and as YAML', () => {
  fc.assert(
    fc.property(configuration, (input) => {
      assert.deepEqual(told(faultsOf(input)), [])
      const source = yamlSource(stringify(input), 'behalf.yaml')
      assert.deepEqual(source.faults, [])
      const fromYaml = readConfig(source.value as object, { environment: {} })
      const fromObject = readConfig(input, { environment: {} })
      assert.deepEqual(fromYaml, fromObject)
      assert.deepEqual(
        fromObject.routes.map(({ name: called, match }) => [called, match.path]),
        input.routes.map(({ match }) => [match.path, match.path]),
      )
    }),
    { numRuns: 200 },
  )
})

test('whatever is written, it becomes a configuration or faults, and nothing else', () => {
  const anything = fc.object({
    key: fc.oneof(
      fc.constantFrom(
        'server',
        'issuers',
        'apis',
        'routes',
        'cache',
        'listen',
        'match',
        'path',
        '__proto__',
      ),
      fc.string(),
    ),
    maxDepth: 5,
  })
  fc.assert(
    fc.property(anything, (input) => {
      assert.ok(faultsOf(input).length > 0)
    }),
    { numRuns: 500 },
  )
})

test('one value of a valid configuration exchanged for anything is read or named by its path', () => {
  const junk = fc.oneof(fc.anything({ maxDepth: 1 }), fc.constant(null), fc.string())
  fc.assert(
    fc.property(configuration, fc.nat(), junk, (input, pick, value) => {
      const places = leavesOf(input)
      const { holder, key } = places[pick % places.length]!
      const before = holder[key]
      holder[key] = value
      try {
        for (const { message } of faultsOf(input)) assert.ok(message.length > 0)
      } finally {
        holder[key] = before
      }
    }),
    { numRuns: 500 },
  )
})

interface Leaf {
  readonly holder: Record<string, unknown>
  readonly key: string
}

function leavesOf(value: object): readonly Leaf[] {
  const holder = value as Record<string, unknown>
  return Object.entries(holder).flatMap(([key, child]) => [
    { holder, key },
    ...(typeof child === 'object' && child !== null ? leavesOf(child) : []),
  ])
}

test('any text is YAML that is read or faults that have places', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'ab:-[]{}&*!|>"\'#, \n\t<'.split('')), maxLength: 40 }),
      (text) => {
        const { faults, locate } = yamlSource(text, 'x')
        for (const { place } of faults) assert.ok('line' in place && place.line! >= 1)
        assert.ok('file' in locate(['a', 0, 'b'], 'key')!)
        assert.ok('file' in locate([], 'value')!)
      },
    ),
    { numRuns: 1_000 },
  )
})
