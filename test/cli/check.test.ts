import assert from 'node:assert/strict'
import { test } from 'node:test'
import { folder } from '../folder.ts'
import { behalf, YAML } from './behalf.ts'
import { behalfAgain } from './resident.ts'

const environment = { CLIENT_SECRET: 'the-client-secret' }

test('check tells what would be served, warns, and exits 0', async (t) => {
  const cwd = await folder(t, { 'behalf.yaml': YAML })
  const { code, out, err } = await behalf(['check'], { cwd, environment })
  assert.equal(err, '')
  assert.equal(code, 0)
  assert.equal(
    out,
    `ok  behalf.yaml: 1 issuer, 1 API, 1 route

orders  GET /orders
  token     of storefront (https://storefront.example), by tenant
  needs     read:orders; a user; at most 3 actors
  exchange  for https://orders.internal [orders:read], kept by token for at most 1h
  upstream  http://127.0.0.1:9001

warning  issuers.tenant.budget: none is given: at most 2 exchanges per second leave, which is what the smallest Auth0 plan allows. Give the rate of yours
`,
  )
})

test('check tells the same as JSON', async (t) => {
  const cwd = await folder(t, { 'behalf.yaml': YAML })
  const { code, out } = await behalfAgain(['check', '--format', 'json'], { cwd, environment })
  assert.equal(code, 0)
  const { warnings, ...rest } = JSON.parse(out) as { readonly warnings: readonly object[] }
  assert.equal(warnings.length, 1)
  assert.deepEqual(rest, {
    ok: true,
    file: 'behalf.yaml',
    routes: [
      {
        name: 'orders',
        path: '/orders',
        methods: ['GET'],
        apis: [{ name: 'storefront', audience: 'https://storefront.example', issuer: 'tenant' }],
        needs: {
          scopes: ['read:orders'],
          anyScope: [],
          permissions: [],
          subject: 'user',
          assumed: { subject: true, maxDepth: true },
          claims: [],
          actors: { required: false, maxDepth: 3 },
          mayAct: 'check',
        },
        exchange: {
          grant: 'token-exchange',
          audience: 'https://orders.internal',
          scopes: ['orders:read'],
          key: 'token',
          maxAge: '1h',
        },
        upstreams: [{ url: 'http://127.0.0.1:9001', weight: 1 }],
      },
    ],
  })
  assert.ok(!out.includes(environment.CLIENT_SECRET))
})

const BROKEN = YAML.replace('http://127', 'ftp://127').replace('api: storefront', 'api: store')

test('check tells how a route without an exchange is served', async (t) => {
  const passthrough = 'grant: passthrough, because: it is the same service'
  for (const [exchange, told] of [
    ['grant: none', 'none: the upstream gets no credentials'],
    [
      `${passthrough}, expectAudience: https://orders.internal`,
      "none: the upstream gets the caller's own token, because it is the same service",
    ],
    [
      'grant: client-credentials, audience: [one, two], scopes: [read]',
      'by client-credentials for one + two [read], kept for all for at most 1h',
    ],
  ] as const) {
    const yaml = YAML.replace(/exchange: .*/, `exchange: { ${exchange} }`)
    const cwd = await folder(t, { 'behalf.yaml': yaml.replace('auth0', 'rfc8693') })
    const { out, err } = await behalfAgain(['check'], { cwd, environment })
    assert.equal(err, '')
    assert.ok(out.includes(`\n  exchange  ${told}\n`), out)
  }
})

test('check tells what an API asks for beside a token, and nothing of one that asks for none', async (t) => {
  const server = 'server: { publicOrigin: https://gateway.example }\n'
  const line = '  token     of storefront (https://storefront.example), by tenant'
  for (const [proof, told, summary] of [
    [undefined, '', undefined],
    ['mechanism: dpop', ', bound by dpop', { mechanism: 'dpop', required: true }],
    [
      'mechanism: mtls, required: false',
      ', bound by mtls or to nothing',
      { mechanism: 'mtls', required: false },
    ],
    [
      'mechanism: dpop, requiredFor: public_clients, confidentialClients: [web, batch]',
      ', bound by dpop, but those of web and batch need not be',
      { mechanism: 'dpop', required: true, exempt: ['web', 'batch'] },
    ],
  ] as const) {
    const block = proof === undefined ? '' : `    proofOfPossession: { ${proof} }\n`
    const yaml = `${server}${YAML.replace('routes:', `${block}routes:`)}`
    const cwd = await folder(t, { 'behalf.yaml': yaml })
    const { out, err } = await behalfAgain(['check'], { cwd, environment })
    assert.equal(err, '')
    assert.ok(out.includes(`\n${line}${told}\n`), out)
    const asJson = await behalfAgain(['check', '--format', 'json'], { cwd, environment })
    const { routes } = JSON.parse(asJson.out) as {
      readonly routes: readonly { readonly apis: readonly Record<string, unknown>[] }[]
    }
    assert.deepEqual(routes[0]?.apis[0]?.['proofOfPossession'], summary)
  }
})

test('check names every fault at its place and exits 78', async (t) => {
  const cwd = await folder(t, { 'behalf.yaml': BROKEN })
  const { code, out, err } = await behalf(['check'], { cwd })
  assert.equal(code, 78)
  assert.equal(out, '')
  assert.equal(
    err,
    `invalid configuration:
  behalf.yaml:7:39 apis.storefront.client.secret: the variable CLIENT_SECRET is not set
  behalf.yaml:11:26 routes[0].authenticate.api: there is no API \`store\`; there are \`storefront\`
  behalf.yaml:14:24 routes[0].proxy.upstream: must be an \`http:\` or \`https:\` URL
`,
  )
})

test('check tells faults as JSON, too', async (t) => {
  const cwd = await folder(t, { 'behalf.yaml': BROKEN })
  const { code, out, err } = await behalfAgain(['check', '--format=json'], { cwd, environment })
  assert.equal(code, 78)
  assert.equal(err, '')
  assert.deepEqual(JSON.parse(out), {
    ok: false,
    file: 'behalf.yaml',
    faults: [
      {
        place: { file: 'behalf.yaml', line: 11, column: 26 },
        path: 'routes[0].authenticate.api',
        message: 'there is no API `store`; there are `storefront`',
      },
      {
        place: { file: 'behalf.yaml', line: 14, column: 24 },
        path: 'routes[0].proxy.upstream',
        message: 'must be an `http:` or `https:` URL',
      },
    ],
  })
})

test('the file is named as it was given, and need not be in this folder', async (t) => {
  const cwd = await folder(t, { 'mine.yaml': BROKEN, '.env': 'CLIENT_SECRET=x\n' })
  const { code, err } = await behalfAgain(['check', '--config', `${cwd}/mine.yaml`])
  assert.equal(code, 78)
  assert.match(err, new RegExp(`^  ${cwd}/mine\\.yaml:11:26 `, 'm'))
})

test('without a file, the default is missed and exit is 78', async (t) => {
  const cwd = await folder(t, {})
  const { code, err } = await behalfAgain(['check'], { cwd })
  assert.equal(code, 78)
  assert.equal(
    err,
    'invalid configuration:\n  behalf.yaml: cannot be read: there is no such file\n',
  )
})

for (const [argv, message] of [
  [[], /^Behalf, an On-Behalf-Of/],
  [['chekc'], /^behalf: unknown command `chekc`, did you mean `check`\?\n$/],
  [['frobnicate'], /^behalf: unknown command `frobnicate`; `behalf help` lists them\n$/],
  [['constructor'], /^behalf: unknown command `constructor`/],
  [['--config', 'x', 'check'], /^behalf: unknown command `--config`/],
  [['check', '--confg', 'x'], /^behalf: unknown option '--confg', did you mean `--config`\?\n$/],
  [['check', '--config'], /^behalf: option '--config.* argument missing/],
  [
    ['check', 'behalf.yaml'],
    /^behalf: unexpected argument `behalf\.yaml`, did you mean `--config behalf\.yaml`\?\n$/,
  ],
  [['check', 'orders'], /^behalf: unexpected argument `orders`\n$/],
  [['check', '--format', 'xml'], /^behalf: --format must be text or json\n$/],
  [['help', 'nothing'], /^behalf: unknown command `nothing`/],
] as const) {
  test(`\`behalf ${argv.join(' ')}\` is a wrong command line: exit 64`, async () => {
    const { code, out, err } = await behalfAgain(argv)
    assert.equal(code, 64)
    assert.equal(out, '')
    assert.match(err, message)
  })
}

for (const argv of [['help'], ['--help'], ['-h'], ['help', 'check'], ['check', '--help']]) {
  test(`\`behalf ${argv.join(' ')}\` helps, on standard output`, async () => {
    const { code, out, err } = await behalfAgain(argv)
    assert.equal(code, 0)
    assert.equal(err, '')
    assert.match(
      out,
      argv.includes('check') ? /^usage: behalf check .*--config FILE/s : /^ {2}check /m,
    )
  })
}

for (const [name, reads] of [
  ['serve', true],
  ['check', true],
  ['provision', true],
  ['healthcheck', true],
  ['demo', false],
  ['tenant', false],
  ['schema', false],
  ['version', false],
] as const) {
  test(`the help of ${name} fits a terminal of 80 columns and ${reads ? 'names' : 'leaves out'} --config`, async () => {
    const { out } = await behalfAgain([name, '--help'])
    assert.deepEqual(
      out.split('\n').filter((line) => line.length > 80),
      [],
    )
    assert.equal(out.includes('--config FILE'), reads)
  })
}
