import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import type { Environment } from '../../src/config/environment.ts'
import { ConfigError, faultText } from '../../src/config/faults.ts'
import { loadConfig, readConfig } from '../../src/config/load.ts'
import { folder } from '../folder.ts'
import { changed, valid, secretOf } from './given.ts'

const YAML = `server:
  listen: 127.0.0.1:8080
issuers:
  tenant: { issuer: https://tenant.example/, profile: auth0 }
apis:
  storefront:
    issuer: tenant
    audience: https://storefront.example
    client:
      id: \${CLIENT_ID:-storefront}
      secret: \${CLIENT_SECRET}
routes:
  - match: { path: /orders }
    authenticate: { api: storefront }
    exchange: { audience: https://orders.internal }
    proxy:
      upstream: http://127.0.0.1:9001
`

const ENVIRONMENT: Environment = { CLIENT_SECRET: 'from the environment' }

/** Every fault as it is printed, without the folder. */
async function faultsIn(
  t: TestContext,
  text: string,
  environment: Environment = ENVIRONMENT,
  files: Readonly<Record<string, string>> = {},
): Promise<readonly string[]> {
  const path = await folder(t, { 'behalf.yaml': text, ...files })
  try {
    await loadConfig(join(path, 'behalf.yaml'), { environment })
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.faults.map((fault) => faultText(fault).replaceAll(`${path}/`, ''))
  }
}

async function load(
  t: TestContext,
  text: string,
  environment: Environment,
  files: Readonly<Record<string, string>> = {},
): Promise<Config> {
  const path = await folder(t, { 'behalf.yaml': text, ...files })
  return loadConfig(join(path, 'behalf.yaml'), { environment })
}

test('a file becomes the configuration, with every default', async (t) => {
  const config = await load(t, YAML, ENVIRONMENT)
  const [issuer] = config.issuers
  const [api] = config.apis
  assert.deepEqual(config, {
    server: {
      listen: { host: '127.0.0.1', port: 8080 },
      publicOrigins: [],
      trustedProxies: [],
      limits: { connections: 10_000, inFlight: 10_000, pipelined: 64, loopDelayMs: 1_000 },
      replicas: 1,
      workers: 1,
      drain: { delayMs: 5_000, timeoutMs: 25_000 },
      tls: undefined,
    },
    admin: { listen: { host: '127.0.0.1', port: 8081 }, token: undefined, allowedHosts: [] },
    issuers: [
      {
        name: 'tenant',
        identifiers: ['https://tenant.example/'],
        profile: 'auth0',
        tokenEndpoint: undefined,
        jwksUri: undefined,
        staleForMs: 3_600_000,
        dangerouslyAllowHttp: false,
        budget: { rate: 2, burst: 1, assumed: true },
      },
    ],
    apis: [
      {
        name: 'storefront',
        issuer,
        audience: 'https://storefront.example',
        verification: { kind: 'jwks', algorithms: ['RS256'] },
        typ: undefined,
        clockToleranceMs: 5_000,
        client: {
          id: 'storefront',
          method: 'client_secret_post',
          secret: 'from the environment',
        },
        resource: undefined,
        proofOfPossession: undefined,
      },
    ],
    routes: [
      {
        name: '/orders',
        match: { path: '/orders', hosts: [], methods: undefined, pathParameters: false },
        authenticate: { apis: [api] },
        authorize: {
          scopes: [],
          anyScope: [],
          permissions: [],
          // What Auth0 would not exchange is not sent.
          subject: 'user',
          assumed: { subject: true, maxDepth: true },
          clients: undefined,
          organizations: undefined,
          claims: [],
          authorizationDetails: undefined,
          actors: { allow: undefined, required: false, maxDepth: 3 },
          mayAct: 'check',
          acrValues: undefined,
          maxAgeMs: undefined,
        },
        exchange: {
          grant: 'token-exchange',
          delegation: false,
          audience: 'https://orders.internal',
          resource: undefined,
          scopes: [],
          parameters: {},
          key: 'token',
          ignoreClaims: [],
          maxAgeMs: 3_600_000,
          defaultLifetimeMs: 300_000,
          timeoutMs: 5_000,
          expectAudience: undefined,
          extraScopes: undefined,
          bound: undefined,
        },
        proxy: {
          upstreams: [{ url: 'http://127.0.0.1:9001', weight: 1 }],
          ...{ strip: '', prefix: '', retries: 1, tls: undefined },
          timeoutMs: 30_000,
          connectTimeoutMs: 2_000,
          cookies: 'strip',
          headers: undefined,
          websocket: undefined,
          http2: false,
          limits: {
            ...{ body: undefined, headers: undefined, headerCount: 100 },
            ...{ idleMs: 30_000, totalMs: undefined, inFlight: undefined, rates: [] },
          },
        },
      },
    ],
    endpoints: { forwardAuth: undefined, token: undefined },
    cache: { maxEntries: 100_000, maxBytes: 268_435_456, redis: undefined },
    provision: { audiences: {}, grants: [] },
  })
  // What names something is that thing, not a copy of it: others find things by identity.
  assert.equal(api?.issuer, issuer)
  assert.equal(config.routes[0]?.authenticate.apis[0], api)
})

test('an object of the same shape becomes the same configuration', async (t) => {
  const text = JSON.stringify(valid())
  assert.deepEqual(readConfig(valid(), { environment: {} }), await load(t, text, {}))
})

test('a profile decides what is usual for its clients and its budget', () => {
  const { issuers, apis } = readConfig(changed({ 'issuers.tenant.budget': undefined }), {
    environment: {},
  })
  assert.deepEqual(
    issuers.map(({ profile, budget }) => [profile, budget?.rate, budget?.burst]),
    [
      ['auth0', 2, 1],
      ['rfc8693', undefined, undefined],
    ],
  )
  assert.deepEqual(
    apis.map(({ client }) => client?.method),
    ['client_secret_post', 'client_secret_basic'],
  )
})

test('a trailing slash of an upstream is not doubled by the path that follows', () => {
  for (const [written, read] of [
    ['http://a.example/', 'http://a.example'],
    ['http://A.example:80', 'http://a.example'],
    ['http://a.example/base/', 'http://a.example/base'],
  ]) {
    const { routes } = readConfig(changed({ 'routes[0].proxy.upstream': written }))
    assert.equal(routes[0]?.proxy.upstreams[0]?.url, read)
  }
})

const POSITIONS: readonly (readonly [name: string, from: string, to: string, fault: string])[] = [
  [
    'a value',
    'upstream: http://127.0.0.1:9001',
    'upstream: http://user:word@127.0.0.1:9001',
    'behalf.yaml:17:17 routes[0].proxy.upstream: must not hold credentials',
  ],
  [
    'a value in a flow mapping',
    'path: /orders',
    'path: orders',
    'behalf.yaml:13:20 routes[0].match.path: must begin with `/`',
  ],
  [
    'an unknown key',
    'audience: https://storefront.example',
    'audience: https://storefront.example\n    audiance: x',
    'behalf.yaml:9:5 apis.storefront: unknown key `audiance`, did you mean `audience`?',
  ],
  [
    'an unknown key at the top',
    'server:',
    'sever: {}\nserver:',
    'behalf.yaml:1:1: unknown key `sever`, did you mean `server`?',
  ],
  [
    'a missing key: where its mapping stands',
    'exchange: { audience: https://orders.internal }',
    'exchange: {}',
    'behalf.yaml:15:15 routes[0].exchange: needs an `audience`',
  ],
  [
    'a key without a value',
    'issuer: tenant',
    'issuer:',
    'behalf.yaml:7:12 apis.storefront.issuer: has no value: write one, or leave the key out',
  ],
  [
    'a required key that is missing',
    '    issuer: tenant\n',
    '',
    'behalf.yaml:7:5 apis.storefront.issuer: is required',
  ],
  [
    'a value that a variable made',
    'upstream: http://127.0.0.1:9001',
    'upstream: ftp://${HOST:-orders}',
    'behalf.yaml:17:17 routes[0].proxy.upstream: must be an `http:` or `https:` URL (from HOST)',
  ],
  [
    'an entry of a list',
    'match: { path: /orders }',
    'match: { path: /orders, methods: [GET, TRACE] }',
    'behalf.yaml:13:44 routes[0].match.methods[1]: must not be `TRACE`: it is never proxied',
  ],
  [
    'a key that stands twice',
    '    audience: https://storefront.example\n',
    '    audience: https://a.example\n    audience: https://b.example\n',
    'behalf.yaml:9:5: the mapping has this key already',
  ],
  [
    'a variable without quotes in braces',
    'match: { path: /orders }',
    'match: { path: ${PATH} }',
    'behalf.yaml:13:21: `${NAME}` must stand in quotes inside `{ }` and `[ ]`',
  ],
  [
    'a tag that nobody knows',
    'issuer: tenant',
    'issuer: !env tenant',
    'behalf.yaml:7:13: unresolved tag',
  ],
]

for (const [name, from, to, fault] of POSITIONS) {
  test(`the position of a fault is that of ${name}`, async (t) => {
    assert.ok(YAML.includes(from))
    assert.deepEqual(await faultsIn(t, YAML.replace(from, to)), [fault])
    assert.deepEqual(await faultsIn(t, YAML), [])
  })
}

for (const written of [
  ...['*WORD', '!WORD', '!!WORD', '!<WORD> x', '!e!WORD x', '|WORD', '>1WORD', '"\\UWORD"'],
  ...['"x" WORD', '"x"WORD', '|+9 WORD', ']WORD', '}WORD', '&a *WORD', '`WORD', '@WORD'],
  '\n%WORD\n---',
]) {
  test(`what YAML takes ${JSON.stringify(written)} for is not quoted where it is a secret`, async (t) => {
    const word = 'a3f9cEcReT'
    const text = YAML.replace('${CLIENT_SECRET}', written.replace('WORD', word))
    const told = await faultsIn(t, text)
    assert.notDeepEqual(told, [])
    assert.ok(!told.join('\n').includes(word.slice(0, 8)), told.join('\n'))
  })
}

test('faults are told in the order of the file', async (t) => {
  const text = YAML.replace('/orders', 'orders')
    .replace('tenant }', 'x }')
    .replace('listen: 127.0.0.1:8080', 'listen: 8080')
    .replace('api: storefront', 'api: x')
  const lines = (await faultsIn(t, text)).map((fault) => Number(fault.split(':')[1]))
  assert.deepEqual(lines, [2, 13, 14])
})

test('a fault in what an alias stands for is found where the anchor is', async (t) => {
  const text = YAML.replace('proxy:\n      upstream: http://127.0.0.1:9001', 'proxy: *up').replace(
    'server:\n',
    'server: &up\n  upstream: ftp://a\n',
  )
  const faults = await faultsIn(t, text)
  assert.ok(
    faults.includes(
      'behalf.yaml:2:13 routes[0].proxy.upstream: must be an `http:` or `https:` URL',
    ),
    faults.join('\n'),
  )
})

test('mappings can be merged, and what is merged in has its own position', async (t) => {
  const second = `  - <<: &shared
      authenticate: { api: storefront }
      exchange: { audience: https://stock.internal }
    match: { path: /stock }
    proxy: { upstream: http://127.0.0.1:9002 }
  - <<: *shared
    match: { path: /goods }
    proxy: { upstream: http://127.0.0.1:9003 }
`
  const { routes } = await load(t, YAML + second, ENVIRONMENT)
  assert.deepEqual(
    routes.map(({ name, exchange }) => [name, exchange.audience]),
    [
      ['/orders', 'https://orders.internal'],
      ['/stock', 'https://stock.internal'],
      ['/goods', 'https://stock.internal'],
    ],
  )
  const wrong = (YAML + second).replace(
    'api: storefront }\n      exchange',
    'api: x }\n      exchange',
  )
  assert.deepEqual(await faultsIn(t, wrong), [
    'behalf.yaml:19:28 routes[1].authenticate.api: there is no API `x`; there are `storefront`',
    'behalf.yaml:19:28 routes[2].authenticate.api: there is no API `x`; there are `storefront`',
  ])
})

for (const [name, text, fault] of [
  ['an empty file', '', /must be a mapping/],
  ['a list', '- a\n', /must be a mapping/],
  ['text', 'behalf\n', /must be a mapping/],
  [
    'two documents',
    `${YAML}---\n${YAML}`,
    /^behalf.yaml:18:1: the file must hold one YAML document/,
  ],
  ['a tab', YAML.replace('  listen', '\tlisten'), /^behalf.yaml:2:1: tabs/],
  ['an unclosed list', `${YAML}x: [`, /^behalf.yaml:18/],
  ['an alias of nothing', `${YAML}x: *nothing\n`, /unresolved alias/],
  ['an alias of what holds it', `${YAML}x: &x [*x, *x]\n`, /holds itself/],
  [
    'aliases that multiply',
    [
      'a: &a [x,x]',
      ...'bcdefghi'.split('').map((to, index) => {
        const from = 'abcdefgh'.charAt(index)
        return `${to}: &${to} [${Array(9).fill(`*${from}`).join()}]`
      }),
    ].join('\n'),
    /excessive alias count/,
  ],
] as const) {
  test(`${name} is refused`, async (t) => {
    const faults = await faultsIn(t, text)
    assert.ok(
      faults.some((one) => fault.test(one)),
      faults.join('\n'),
    )
  })
}

test('a file that is not there is a fault like others', async (t) => {
  const path = await folder(t, {})
  for (const [file, reason] of [
    ['absent.yaml', 'there is no such file'],
    ['.', 'it is a folder'],
  ] as const) {
    await assert.rejects(loadConfig(join(path, file)), (error: Error) => {
      assert.ok(error instanceof ConfigError)
      assert.equal(error.faults[0]?.message, `cannot be read: ${reason}`)
      return true
    })
  }
})

const client = (config: Config): string | undefined => secretOf(config)

test('a variable is put in, and not looked at again', async (t) => {
  for (const value of [
    '${CLIENT_ID}',
    'a$b',
    '$&',
    '${',
    '$1',
    ' spaces ',
    '${file:/etc/hostname}',
  ]) {
    assert.equal(client(await load(t, YAML, { CLIENT_SECRET: value })), value)
  }
})

test('a default is taken where a variable is unset or empty, and only there', async (t) => {
  const idOf = async (environment: Environment): Promise<string | undefined> =>
    (await load(t, YAML, { ...ENVIRONMENT, ...environment })).apis[0]?.client?.id
  assert.equal(await idOf({}), 'storefront')
  assert.equal(await idOf({ CLIENT_ID: '' }), 'storefront')
  assert.equal(await idOf({ CLIENT_ID: 'mine' }), 'mine')
})

test('several variables may stand in one text, and what they make gets the type that is asked for', async (t) => {
  const text = YAML.replace('http://127.0.0.1:9001', 'http://${HOST}:${PORT:-9001}').replace(
    'path: /orders',
    'path: /orders, pathParameters: "${PARAMETERS}"',
  )
  const sized = `${text}cache: { maxEntries: "\${ENTRIES}" }\n`
  const environment = { ...ENVIRONMENT, HOST: 'a.example', PARAMETERS: 'true', ENTRIES: '7' }
  const { routes, cache } = await load(t, sized, environment)
  assert.equal(routes[0]?.proxy.upstreams[0]?.url, 'http://a.example:9001')
  assert.equal(routes[0]?.match.pathParameters, true)
  assert.equal(cache.maxEntries, 7)
  assert.deepEqual(await faultsIn(t, sized, { ...environment, ENTRIES: 'seven' }), [
    'behalf.yaml:18:22 cache.maxEntries: must be a number (from ENTRIES)',
  ])
})

test('a text that is no number is not made one because it looks like it', async (t) => {
  const { apis } = await load(t, YAML, { CLIENT_SECRET: '0123456' })
  assert.equal(secretOf({ apis }), '0123456')
})

for (const [written, message] of [
  ['${CLIENT_SECRET}', 'the variable CLIENT_SECRET is not set'],
  ['${lower}', 'holds a `${` that is none of'],
  ['${A', 'holds a `${` that is none of'],
  ['${}', 'holds a `${` that is none of'],
  ['${A:-${B}}', 'holds a `${` that is none of'],
  ['${A-b}', 'holds a `${` that is none of'],
  ['${file:}', 'holds a `${` that is none of'],
  ['${file:absent}', 'the file absent cannot be read: there is no such file'],
] as const) {
  test(`${written} is refused: ${message}`, async (t) => {
    const faults = await faultsIn(t, YAML.replace('${CLIENT_SECRET}', `'${written}'`), {})
    assert.equal(faults.length, 1, faults.join('\n'))
    assert.ok(
      faults[0]!.startsWith(`behalf.yaml:11:15 apis.storefront.client.secret: ${message}`),
      faults[0],
    )
  })
}

test('an empty variable is a value, and then judged like any other', async (t) => {
  assert.deepEqual(await faultsIn(t, YAML, { CLIENT_SECRET: '' }), [
    'behalf.yaml:11:15 apis.storefront.client.secret: must not be empty (from CLIENT_SECRET)',
  ])
})

for (const [content, value] of [
  ['secret', 'secret'],
  ['secret\n', 'secret'],
  ['secret\r\n', 'secret'],
  ['secret\n\n', 'secret\n'],
  ['${CLIENT_ID}\n', '${CLIENT_ID}'],
] as const) {
  test(`a file of ${JSON.stringify(content)} gives ${JSON.stringify(value)}, however it is named`, async (t) => {
    const path = await folder(t, { secret: content })
    const file = join(path, 'secret')
    const direct = YAML.replace('${CLIENT_SECRET}', `\${file:${file}}`)
    assert.equal(client(await load(t, direct, {})), value)
    assert.equal(client(await load(t, YAML, { CLIENT_SECRET_FILE: file })), value)
    assert.equal(
      client(await load(t, YAML, { CLIENT_SECRET_FILE: file, CLIENT_SECRET: '' })),
      value,
    )
    const override = { BEHALF_APIS__STOREFRONT__CLIENT__SECRET_FILE: file }
    assert.equal(client(await load(t, YAML, { ...ENVIRONMENT, ...override })), value)
  })
}

test('a variable comes before the file that its twin names', async (t) => {
  const environment = { ...ENVIRONMENT, CLIENT_SECRET_FILE: '/nowhere' }
  assert.equal(client(await load(t, YAML, environment)), 'from the environment')
})

test('a file that is named relatively is looked for beside the configuration', async (t) => {
  const text = YAML.replace('${CLIENT_SECRET}', '${file:secret}')
  assert.equal(client(await load(t, text, {}, { secret: 'beside' })), 'beside')
})

test('.env beside the file is read, and a real variable wins', async (t) => {
  const files = { '.env': '# a comment\nCLIENT_SECRET="from .env"\nexport CLIENT_ID=mine\n' }
  const config = await load(t, YAML, {}, files)
  assert.equal(client(config), 'from .env')
  assert.equal(config.apis[0]?.client?.id, 'mine')
  assert.equal(client(await load(t, YAML, ENVIRONMENT, files)), 'from the environment')
  assert.equal(client(await load(t, YAML, { CLIENT_SECRET: undefined }, files)), 'from .env')
  assert.equal(process.env['CLIENT_SECRET'], undefined)
})

test('a .env that is a folder is not passed over', async (t) => {
  const path = await folder(t, { 'behalf.yaml': YAML })
  await mkdir(join(path, '.env'))
  await writeFile(join(path, '.env', 'x'), '')
  await assert.rejects(loadConfig(join(path, 'behalf.yaml'), { environment: ENVIRONMENT }), {
    code: 'EISDIR',
  })
})
