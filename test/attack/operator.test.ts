/** A careless operator: what the configuration may hold by mistake is named, and nothing secret with it. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'

const CANARY = 'canary7f3a'
const GOOD = `
issuers: { tenant: { issuer: "https://tenant.example/", profile: rfc8693 } }
apis:
  storefront:
    issuer: tenant
    audience: https://storefront.example
    algorithms: [RS256]
    client: { id: storefront, secret: ${CANARY} }
routes:
  - name: orders
    match: { path: /orders }
    authenticate: { api: storefront }
    authorize: { scopes: [read] }
    exchange: { audience: https://orders.internal, scopes: [read] }
    proxy: { upstream: http://127.0.0.1:9 }
`

async function fault(
  t: TestContext,
  text: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'behalf-'))
  t.after(() => rm(folder, { recursive: true }))
  const file = join(folder, 'behalf.yaml')
  await writeFile(file, text)
  try {
    await loadConfig(file, { environment })
    return ''
  } catch (error) {
    assert.ok(error instanceof Error)
    assert.equal(error.name, 'ConfigError', error.stack)
    return error.message
  }
}

/** Each level holds the one before it nine times. */
function laughs(levels: number): string {
  const lines = Array.from({ length: levels }, (_, level) =>
    level === 0
      ? 'l0: &l0 [ha]'
      : `l${level}: &l${level} [${Array(9)
          .fill(`*l${level - 1}`)
          .join(', ')}]`,
  )
  return lines.join('\n')
}

function nested(levels: number): string {
  return Array.from({ length: levels }, (_, level) => `${' '.repeat(level)}a:`).join('\n')
}

const mistakes: readonly (readonly [what: string, text: string, expected: RegExp])[] = [
  ['nothing wrong', GOOD, /^$/],
  ['aliases that multiply', laughs(9) + GOOD, /excessive alias count/],
  ['an alias that merges itself', `server: &s { <<: *s }${GOOD}`, /excessive alias count/],
  ['a mapping that holds itself', `server: &s { x: *s }${GOOD}`, /server\.x: holds itself/],
  ['three thousand levels', nested(3_000) + GOOD, /nested too deeply/],
  ['twenty levels', nested(20) + GOOD, /unknown key `a`/],
  ['__proto__ at the root', `${GOOD}__proto__: { polluted: 1 }`, /unknown key `__proto__`/],
  [
    'an issuer named __proto__',
    GOOD.replaceAll('tenant:', '__proto__:'),
    /unknown key `__proto__`/,
  ],
  [
    'an API named constructor',
    GOOD.replaceAll('storefront:', 'constructor:').replace('api: storefront', 'api: constructor'),
    /^$/,
  ],
  [
    'a route for the API constructor, which nobody named',
    GOOD.replace('api: storefront', 'api: constructor'),
    /no API `constructor`/,
  ],
  ['a profile named constructor', GOOD.replace('rfc8693', 'constructor'), /must be one of/],
  ['a base path with dots', GOOD.replace(':9 }', ':9/a/../b }'), /dot segment/],
  ['a base path without', GOOD.replace(':9 }', ':9/a/b }'), /^$/],
  [
    'http to a name like loopback',
    GOOD.replace('https://tenant', 'http://127.0.0.1'),
    /must be `https:`/,
  ],
  ['http to loopback', GOOD.replace('https://tenant.example', 'http://127.0.0.1'), /^$/],
  [
    'a quote that is not closed behind a secret',
    GOOD.replace(CANARY, `"${CANARY}`),
    /missing closing/,
  ],
  ['a secret that is a list', GOOD.replace(CANARY, `[${CANARY}]`), /secret: must be text/],
  [
    'a secret with a variable that is none',
    GOOD.replace(CANARY, `'${CANARY}\${'`),
    /holds a `\$\{`/,
  ],
]
for (const [what, text, expected] of mistakes) {
  test(`a configuration with ${what} is judged at once, without its secrets`, async (t) => {
    const message = await fault(t, text)
    assert.match(message, expected)
    assert.equal(message.includes(CANARY), false)
    assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false)
  })
}

const SECRET = 'BEHALF_APIS__STOREFRONT__CLIENT__SECRET'
const variables: readonly (readonly [name: string, value: string, expected: RegExp])[] = [
  [SECRET, CANARY, /^$/],
  [`${SECRET}_FILE`, '/nowhere/at/all', /cannot be read/],
  [`${SECRET}S`, CANARY, /stands for nothing/],
  ['BEHALF___PROTO____X', CANARY, /stands for nothing/],
  ['BEHALF_ISSUERS____PROTO____ISSUER', CANARY, /stands for nothing/],
  ['BEHALF_ISSUERS__CONSTRUCTOR__ISSUER', CANARY, /stands for nothing/],
  ['BEHALF_ROUTES__999999__NAME', CANARY, /stands for nothing/],
  ['BEHALF_ROUTES__0__NAME', 'renamed', /^$/],
  [
    'BEHALF_APIS__STOREFRONT__CLIENT',
    `{"__proto__":{"secret":"${CANARY}"}}`,
    /client\.id: is required/,
  ],
  ['BEHALF_APIS__STOREFRONT__CLIENT', `{"id":"x","secret":"${CANARY}"}`, /^$/],
  ['BEHALF_APIS__STOREFRONT__CLIENT', `{"id":"x","secret":${CANARY}}`, /must be JSON/],
  ['BEHALF_SERVER', '{}', /^$/],
]
for (const [name, value, expected] of variables) {
  test(`${name}=${value.slice(0, 24)} does what it says or is named, without its value`, async (t) => {
    const message = await fault(t, GOOD, { [name]: value })
    assert.match(message, expected)
    assert.equal(message.includes(CANARY), false)
    assert.equal(Object.hasOwn(Object.prototype, 'secret'), false)
  })
}
