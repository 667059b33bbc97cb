import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { loadConfig, readConfig } from '../../src/config/load.ts'
import { faultText } from '../../src/config/faults.ts'
import { folder } from '../folder.ts'
import { changed, faultsOf, SECRET, valid, secretOf } from './given.ts'

type Look = (config: Config) => unknown

const OVERRIDES: readonly (readonly [string, string, Look, unknown])[] = [
  ['SERVER__LISTEN', '[::1]:1', ({ server }) => server.listen, { host: '::1', port: 1 }],
  [
    'SERVER__PUBLIC_ORIGIN',
    'https://a.example',
    ({ server }) => server.publicOrigins,
    ['https://a.example'],
  ],
  [
    'SERVER__PUBLIC_ORIGIN',
    '["https://a.example", "https://b.example"]',
    ({ server }) => server.publicOrigins,
    ['https://a.example', 'https://b.example'],
  ],
  ['SERVER__DRAIN__DELAY', '7s', ({ server }) => server.drain.delayMs, 7_000],
  ['SERVER__TRUSTED_PROXIES', '[]', ({ server }) => server.trustedProxies, []],
  [
    'SERVER__TRUSTED_PROXIES__1',
    '192.0.2.0/24',
    ({ server }) => server.trustedProxies,
    ['10.0.0.0/8', '192.0.2.0/24'],
  ],
  [
    'ADMIN__ALLOWED_HOSTS',
    '["gateway.internal"]',
    ({ admin }) => admin.allowedHosts,
    ['gateway.internal'],
  ],
  ['ADMIN__ALLOWED_HOSTS__0', 'a.example', ({ admin }) => admin.allowedHosts, ['a.example']],
  ['ADMIN__TOKEN', '12345', ({ admin }) => admin.token, '12345'],
  ['ISSUERS__TENANT__BUDGET__RATE', '0.5', ({ issuers }) => issuers[0]?.budget?.rate, 0.5],
  [
    'ISSUERS__TENANT__BUDGET',
    '{"rate": 3}',
    ({ issuers }) => issuers[0]?.budget,
    { rate: 3, burst: 1 },
  ],
  [
    'ISSUERS__TENANT__DANGEROUSLY_ALLOW_HTTP',
    'true',
    ({ issuers }) => issuers[0]?.dangerouslyAllowHttp,
    true,
  ],
  ['APIS__STOREFRONT__CLIENT__SECRET', '${NOT_REPLACED}', secretOf, '${NOT_REPLACED}'],
  [
    'APIS__BACKOFFICE__SIGNING_SECRET',
    SECRET.toLowerCase(),
    ({ apis }) => apis[1]?.verification,
    { kind: 'secret', secrets: [SECRET.toLowerCase()] },
  ],
  [
    'APIS__STOREFRONT__ALGORITHMS',
    '["ES256"]',
    ({ apis }) => apis[0]?.verification,
    { kind: 'jwks', algorithms: ['ES256'] },
  ],
  [
    'ROUTES__0__PROXY__UPSTREAM',
    'http://a.example',
    ({ routes }) => routes.map(({ proxy }) => proxy.upstreams[0]?.url),
    ['http://a.example', 'http://127.0.0.1:9002'],
  ],
  ['ROUTES__1__MATCH__METHODS__0', 'PUT', ({ routes }) => routes[1]?.match.methods, ['PUT']],
  ['ROUTES__0__EXCHANGE__MAX_AGE', '1m', ({ routes }) => routes[0]?.exchange.maxAgeMs, 60_000],
  ['CACHE__MAX_ENTRIES', '5', ({ cache }) => cache.maxEntries, 5],
  ['CACHE__MAX_BYTES', '1GiB', ({ cache }) => cache.maxBytes, 1_073_741_824],
  ['CACHE__MAX_BYTES', '70000', ({ cache }) => cache.maxBytes, 70_000],
]

for (const [name, value, look, expected] of OVERRIDES) {
  test(`BEHALF_${name}=${value} comes before the file`, () => {
    const before = look(readConfig(valid(), { environment: {} }))
    const after = look(readConfig(valid(), { environment: { [`BEHALF_${name}`]: value } }))
    assert.deepEqual(after, expected)
    assert.notDeepEqual(before, expected)
  })
}

test('names of issuers and APIs are found without regard to case, and with - as _', () => {
  const { apis, ...rest } = changed({ 'routes[0].authenticate.api': 'Store-Front_v2' }) as {
    readonly apis: { readonly storefront: object; readonly backoffice: object }
  }
  const input = {
    ...rest,
    apis: { 'Store-Front_v2': apis.storefront, backoffice: apis.backoffice },
  }
  const environment = { BEHALF_APIS__STORE_FRONT_V2__AUDIENCE: 'https://a.example' }
  assert.equal(readConfig(input, { environment }).apis[0]?.audience, 'https://a.example')
})

test('a variable that could mean two names is refused, not guessed at', () => {
  const entry = { issuer: 'https://x.example', profile: 'rfc8693' }
  const twin = { ...entry, issuer: 'https://y.example' }
  const input = changed({ 'issuers.a-b': entry, 'issuers.a_b': twin })
  assert.deepEqual(faultsOf(input), [])
  const faults = faultsOf(input, { BEHALF_ISSUERS__A_B__PROFILE: 'auth0' }).map(faultText)
  assert.deepEqual(faults, ['BEHALF_ISSUERS__A_B__PROFILE: stands for several names: a-b, a_b'])
})

test('a section that the file lacks can come from the environment', () => {
  const environment = {
    BEHALF_SERVER__DRAIN__DELAY: '1s',
    BEHALF_APIS__STOREFRONT__CLIENT__ID: 'a',
    BEHALF_APIS__STOREFRONT__CLIENT__SECRET: 'b',
  }
  const input = changed({ server: undefined, 'apis.storefront.client': undefined })
  const { server, apis } = readConfig(input, { environment })
  assert.equal(server.drain.delayMs, 1_000)
  assert.equal(server.drain.timeoutMs, 25_000)
  assert.deepEqual(apis[0]?.client, { id: 'a', method: 'client_secret_post', secret: 'b' })
})

test('what the environment overrides need not be there to be replaced', () => {
  const input = changed({ 'apis.storefront.client.secret': '${UNSET}' })
  assert.equal(faultsOf(input).length, 1)
  assert.deepEqual(faultsOf(input, { BEHALF_APIS__STOREFRONT__CLIENT__SECRET: 'set' }), [])
})

test('a section as JSON comes before single values below it', () => {
  const environment = {
    BEHALF_ISSUERS__TENANT__BUDGET__RATE: '5',
    BEHALF_ISSUERS__TENANT__BUDGET: '{"rate": 3, "burst": 4}',
  }
  assert.deepEqual(readConfig(valid(), { environment }).issuers[0]?.budget, { rate: 5, burst: 4 })
})

const REFUSED: readonly (readonly [Readonly<Record<string, string>>, string])[] = [
  [
    { BEHALF_SERVER__PUBLIC_ORIGN: 'x' },
    'BEHALF_SERVER__PUBLIC_ORIGN: stands for nothing: `server` has no `PUBLIC_ORIGN`, did you mean `PUBLIC_ORIGIN`?',
  ],
  [
    { BEHALF_SERVR__LISTEN: 'x' },
    'BEHALF_SERVR__LISTEN: stands for nothing: the configuration has no `SERVR`, did you mean `SERVER`?',
  ],
  [
    { BEHALF_ISSUERS__TENNANT__PROFILE: 'auth0' },
    'BEHALF_ISSUERS__TENNANT__PROFILE: stands for nothing: `issuers` has no `TENNANT`, did you mean `TENANT`?',
  ],
  [
    { BEHALF_ROUTES__3__NAME: 'x' },
    'BEHALF_ROUTES__3__NAME: stands for nothing: `routes` has no `3`',
  ],
  [
    { BEHALF_ROUTES__ORDERS__NAME: 'x' },
    'BEHALF_ROUTES__ORDERS__NAME: stands for nothing: `routes` has no `ORDERS`',
  ],
  [
    { BEHALF_SERVER__LISTEN__PORT: '1' },
    'BEHALF_SERVER__LISTEN__PORT: stands for nothing: `server.listen` has no `PORT`',
  ],
  [
    { BEHALF_SERVER__publicOrigin: 'x' },
    'BEHALF_SERVER__publicOrigin: stands for nothing: `server` has no `publicOrigin`',
  ],
  [
    { BEHALF_SERVER__LISTEN_FILE: '/run/x' },
    'BEHALF_SERVER__LISTEN_FILE: stands for nothing: `server` has no `LISTEN_FILE`',
  ],
  [
    { BEHALF_SERVER__TRUSTED_PROXIES: '10.0.0.0/8' },
    'BEHALF_SERVER__TRUSTED_PROXIES: must be JSON, such as ["first", "second"]',
  ],
  [
    { BEHALF_ISSUERS__TENANT__BUDGET: '{rate: 3}' },
    'BEHALF_ISSUERS__TENANT__BUDGET: must be JSON, such as {"key": "value"}',
  ],
  [
    { BEHALF_CACHE__MAX_ENTRIES: 'many' },
    'BEHALF_CACHE__MAX_ENTRIES cache.maxEntries: must be a number',
  ],
  [
    { BEHALF_ISSUERS__TENANT__BUDGET: '{"rate": 3, "bust": 1}' },
    'BEHALF_ISSUERS__TENANT__BUDGET issuers.tenant.budget: unknown key `bust`, did you mean `burst`?',
  ],
  [
    { BEHALF_APIS__BACKOFFICE__SIGNING_SECRET: 'short' },
    'BEHALF_APIS__BACKOFFICE__SIGNING_SECRET apis.backoffice.signingSecret: must be at least 32 bytes long (RFC 7518)',
  ],
  [
    { BEHALF_ADMIN__TOKEN_FILE: '/nowhere/token' },
    'BEHALF_ADMIN__TOKEN_FILE: the file /nowhere/token cannot be read: there is no such file',
  ],
  [
    { BEHALF_ADMIN__TOKEN_FILE: '/nowhere/token', BEHALF_ADMIN__TOKEN: 'x' },
    'BEHALF_ADMIN__TOKEN_FILE: the same secret is given directly, too: only one of the two may be',
  ],
]

for (const [environment, fault] of REFUSED) {
  test(`${Object.keys(environment).join(' and ')} is refused`, () => {
    const faults = faultsOf(valid(), environment).map(faultText)
    // The nearest name may be missing where nothing is near.
    assert.equal(faults.length, 1, faults.join('\n'))
    assert.ok(faults[0]!.startsWith(fault), faults[0])
  })
}

test('variables without two underscores in a row are not ours', () => {
  const environment = {
    BEHALF_SERVICE_HOST: '10.0.0.1',
    BEHALF_PORT_8080_TCP: 'tcp://10.0.0.1',
    BEHALF_TENANT_CLIENT_ID: 'x',
    OTHER__SERVER: 'x',
  }
  assert.deepEqual(faultsOf(valid(), environment), [])
})

test('flags come before variables, these before .env, that before the file', async (t) => {
  const path = await folder(t, {
    'behalf.yaml': JSON.stringify(valid()),
    '.env':
      'BEHALF_SERVER__LISTEN=127.0.0.1:3\nBEHALF_SERVER__DRAIN__DELAY=3s\nBEHALF_SERVER__DRAIN__TIMEOUT=3s\n',
  })
  const { server } = await loadConfig(join(path, 'behalf.yaml'), {
    environment: { BEHALF_SERVER__LISTEN: '127.0.0.1:2', BEHALF_SERVER__DRAIN__DELAY: '2s' },
    overrides: { 'server.listen': '127.0.0.1:1' },
  })
  assert.deepEqual(
    [server.listen.port, server.drain.delayMs, server.drain.timeoutMs],
    [1, 2_000, 3_000],
  )
})

test('a flag can reach into a list, has a type, and is named in faults', () => {
  const overrides = { 'routes[1].proxy.upstream': 'http://a.example', 'cache.maxEntries': '3' }
  const { routes, cache } = readConfig(valid(), { environment: {}, overrides })
  assert.equal(routes[1]?.proxy.upstreams[0]?.url, 'http://a.example')
  assert.equal(cache.maxEntries, 3)
  assert.throws(
    () => readConfig(valid(), { environment: {}, overrides: { 'server.listen': 'x' } }),
    /server\.listen server\.listen: must be an address/,
  )
  assert.throws(() => readConfig(valid(), { overrides: { 'server.lissen': 'x' } }), TypeError)
})

test('the given object is left as it was', () => {
  const input = changed({ 'apis.backoffice.signingSecret': '${WORD}' })
  const before = structuredClone(input)
  readConfig(input, { environment: { WORD: SECRET, BEHALF_ROUTES__0__NAME: 'renamed' } })
  assert.deepEqual(input, before)
})
