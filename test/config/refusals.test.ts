import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../src/config/faults.ts'
import { readConfig } from '../../src/config/load.ts'
import { changed, faultsOf, SECRET, told, valid } from './given.ts'

test('the configuration that all refusals start from has no fault', () => {
  assert.deepEqual(faultsOf(valid()), [])
})

interface Refusal {
  readonly path: string
  readonly bad: readonly unknown[]
  readonly message: RegExp
  /** What differs from a bad value in one thing, and is good. */
  readonly good: readonly unknown[]
  /** Where the fault stands, if not at the path. */
  readonly at?: string
}

test('a short secret needs a word that says so, and a known one is refused all the same', () => {
  const short = { 'apis.backoffice.signingSecret': 'of 16 bytes only' }
  const allowed = { 'apis.backoffice.dangerouslyShortSecret': true }
  assert.deepEqual(told(faultsOf(changed(short))), [
    'apis.backoffice.signingSecret: must be at least 32 bytes long (RFC 7518)',
  ])
  assert.deepEqual(faultsOf(changed({ ...short, ...allowed })), [])
  const known = { ...allowed, 'apis.backoffice.signingSecret': 'your-256-bit-secret' }
  assert.deepEqual(told(faultsOf(changed(known))), [
    'apis.backoffice.signingSecret: is a secret that everybody knows',
  ])
})

const REFUSALS: readonly Refusal[] = [
  ...values('server.listen', /must be an address and a port/, {
    bad: [
      '8080',
      ':8080',
      '127.0.0.1',
      '127.0.0.1:65536',
      '::1:8080',
      '[127.0.0.1]:80',
      'a b:80',
      '',
    ],
    good: ['127.0.0.1:65535', '[::1]:8080', 'localhost:0', '0.0.0.0:80'],
  }),
  ...values('server.listen', /must be an address and a port/, {
    bad: [8080],
    good: ['127.0.0.1:8080'],
  }),
  ...values('server.publicOrigin', /must be an origin/, {
    bad: [
      'https://gateway.example/',
      'https://gateway.example/path',
      'https://gateway.example?',
      'HTTPS://gateway.example',
      'https://gateway.example:443',
      'https://user@gateway.example',
      'gateway.example',
      'ftp://gateway.example',
      'null',
    ],
    good: [
      'https://gateway.example',
      'http://127.0.0.1:8080',
      ['https://a.example', 'https://b.example'],
    ],
  }),
  ...values('server.publicOrigin', /at least one entry/, {
    bad: [[]],
    good: [['https://a.example']],
  }),
  ...values('server.publicOrigin', /must be text or a list of texts/, {
    bad: [5, {}],
    good: ['https://a.example'],
  }),
  ...values('server.trustedProxies[0]', /must be a network/, {
    bad: [
      '10.0.0.0',
      '10.0.0.0/33',
      '10.0.0/8',
      'fd00::/129',
      'proxy.example/8',
      '10.0.0.0/-1',
      '10.0.0.0/08x',
    ],
    good: ['10.0.0.0/32', '0.0.0.0/0', 'fd00::/128', '::1/128'],
  }),
  ...values('server.drain.delay', /must be a duration/, {
    bad: [5, '5', '5 s', '-5s', '5S', '1e3ms', '', '0.5ms'],
    good: ['5s', '0s', '500ms', '1.5s', '1d'],
  }),
  ...values('server.drain.timeout', /must be at most 1d/, { bad: ['25h'], good: ['24h'] }),
  ...values('admin.listen', /beyond loopback: it needs `admin.token`/, {
    bad: ['0.0.0.0:8081', '[::]:8081', '10.0.0.1:8081', 'admin.example:8081'],
    good: ['127.9.9.9:8081', '[::1]:8081', 'localhost:8081'],
  }),
  ...values('admin.allowedHosts', /must be a host in lower case and without a port/, {
    bad: [['Gateway.internal'], ['a.internal:8081'], ['*'], ['a.*.svc'], ['[::1]'], ['a..b']],
    good: [['gateway.internal'], ['behalf'], ['*.gateways.svc'], ['a', 'b']],
  }),
  ...values('admin.allowedHosts', /is answered anyway/, {
    bad: [['127.0.0.1'], ['10.0.0.1'], ['::1'], ['localhost']],
    good: [['127.0.0.1.nip.example'], ['localhost.example'], []],
  }),
  ...values('admin.allowedHosts', /must be a list/, {
    bad: ['gateway.internal', {}],
    good: [['gateway.internal']],
  }),
  ...values('admin.listen', /repeats `server.listen`/, {
    bad: ['127.0.0.1:8080'],
    good: ['127.0.0.1:8082'],
  }),
  ...values('issuers.tenant.issuer', /`http:` is for loopback hosts/, {
    bad: ['http://tenant.example/', 'http://127.0.0.1.example/', 'http://localhost.example/'],
    good: [
      'https://tenant.example/',
      'http://127.0.0.1:9400/',
      'http://localhost/',
      'http://[::1]:9400/',
    ],
  }),
  ...values('issuers.tenant.issuer', /must be an `https:` URL/, {
    bad: [
      'tenant.example',
      'ftp://tenant.example',
      'https://',
      'https://a b/',
      'https:/tenant.example',
    ],
    good: ['https://tenant.example'],
  }),
  ...values('issuers.tenant.issuer', /must not hold a query/, {
    bad: ['https://tenant.example/?a'],
    good: ['https://tenant.example/a'],
  }),
  ...values('issuers.tenant.issuer', /must not hold a fragment/, {
    bad: ['https://tenant.example/#a'],
    good: ['https://tenant.example/a'],
  }),
  ...values('issuers.tenant.issuer', /must not hold credentials/, {
    bad: ['https://user:word@tenant.example/'],
    good: ['https://tenant.example/'],
  }),
  ...values('issuers.other.issuer', /repeats an identifier of issuers.tenant/, {
    bad: ['https://tenant.example/', ['https://a.example', 'https://tenant.example/']],
    good: ['https://tenant.example', ['https://a.example', 'https://b.example']],
  }),
  ...values('issuers.tenant.tokenEndpoint', /`http:` is for loopback hosts/, {
    bad: ['http://tenant.example/token'],
    good: ['https://tenant.example/token', 'http://127.0.0.1/token'],
  }),
  ...values('issuers.tenant.jwksUri', /`http:` is for loopback hosts/, {
    bad: ['http://tenant.example/keys'],
    good: ['https://tenant.example/keys?v=1'],
  }),
  ...values(
    'issuers.tenant.profile',
    /must be one of `auth0`, .*`zitadel`, did you mean `auth0`\?/,
    {
      bad: ['auth', 'AUTH0'],
      good: ['auth0'],
    },
  ),
  ...values('issuers.tenant.profile', /is required/, { bad: [undefined], good: ['auth0'] }),
  ...values('issuers.tenant.budget.rate', /must be more than 0/, {
    bad: [0, -1],
    good: [0.5, 1_000],
  }),
  ...values('issuers.tenant.budget.rate', /must be a number/, { bad: ['8', true], good: [8] }),
  ...values('issuers.tenant.budget.burst', /must be at least 1/, { bad: [0], good: [1] }),
  ...values('issuers.tenant.budget.burst', /must be a whole number/, { bad: [1.5], good: [2] }),
  ...values('apis.storefront.issuer', /there is no issuer `tennant`, did you mean `tenant`\?/, {
    bad: ['tennant'],
    good: ['tenant'],
  }),
  ...values('apis.storefront.issuer', /there is no issuer `x`; there are `tenant`, `other`/, {
    bad: ['x'],
    good: ['other'],
  }),
  ...values('apis.storefront.audience', /must not be empty/, { bad: [''], good: ['a'] }),
  ...values('apis.storefront.algorithms', /must not mix/, {
    bad: [
      ['RS256', 'HS256'],
      ['HS256', 'ES256'],
    ],
    good: [['RS256', 'ES256']],
  }),
  ...values('apis.storefront.algorithms', /`HS256` needs a `signingSecret`/, {
    bad: [['HS256']],
    good: [['PS256'], undefined],
  }),
  ...values('apis.storefront.algorithms[0]', /must be one of/, {
    bad: ['none', 'RS257', 'HS512'],
    good: ['RS512', 'EdDSA'],
  }),
  ...values('apis.backoffice.algorithms', /is of no use without `HS256`/, {
    bad: [['RS256']],
    good: [['HS256'], undefined],
    at: 'apis.backoffice.signingSecret',
  }),
  ...values('apis.backoffice.signingSecret', /at least 32 bytes/, {
    bad: [SECRET.slice(1), 'schlüssel äöü ÄÖÜ ß'],
    good: [SECRET, 'schlüssel äöü ÄÖÜ ßéèêïçñ'],
  }),
  ...values('apis.backoffice.signingSecret', /everybody knows/, {
    bad: [
      'a-string-secret-at-least-256-bits-long',
      'A-String-Secret-At-Least-256-Bits-Long',
      'hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg',
    ],
    good: ['a-string-secret-at-least-257-bits-long'],
  }),
  ...values('apis.backoffice.signingSecret', /repeats a part of itself/, {
    bad: ['7c1f9be25a80d3647c1f9be25a80d364', 'x'.repeat(32), `${'secret'.repeat(6)}se`],
    good: ['7c1f9be25a80d3647c1f9be25a80d365'],
  }),
  ...values('apis.backoffice.signingSecret', /neighbouring characters/, {
    bad: ['abcdefghijklmnopqrstuvwxyz012345', 'zyxwvutsrqponmlkjihgfedcba987654'],
    good: ['acegikmoqsuwybdfhjlnprtvxz024613'],
  }),
  ...values('apis.backoffice.signingSecret', /too few different characters/, {
    bad: ['0220200220020220200202200220200220020', '002004006002006004008009002004008'],
    good: ['002004006002006004008009002004a08'],
  }),
  ...values('apis.backoffice.signingSecret', /a public key is no secret/, {
    bad: [
      '-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE',
      ' -----BEGIN CERTIFICATE-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE',
      '{"kty":"EC","crv":"P-256","x":"MFkwEwYHKoZIzj0CAQYI"}',
    ],
    good: ['MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE'],
  }),
  ...values('apis.backoffice.dangerouslyShortSecret', /no secret is short/, {
    bad: [true],
    good: [false, undefined],
  }),
  ...values('issuers.other.staleFor', /its APIs have signing secrets/, {
    bad: ['1h', '0s'],
    good: [undefined],
  }),
  ...values('issuers.tenant.staleFor', /must be at most 1d/, {
    bad: ['25h'],
    good: ['24h', '1d', '0s', '1h'],
  }),
  ...values('apis.backoffice.signingSecrets', /stands beside `signingSecret`/, {
    bad: [[SECRET]],
    good: [undefined],
  }),
  ...values('apis.storefront.clockTolerance', /must be at most 5m/, {
    bad: ['301s'],
    good: ['5m', '0s'],
  }),
  ...values('apis.storefront.client', /names an API without a `client`/, {
    bad: [undefined],
    good: [{ id: 'a', secret: 'b' }],
    at: 'routes[0].authenticate.api',
  }),
  ...values('apis.storefront.client.method', /must be one of/, {
    bad: ['none', 'client_secret_jwt'],
    good: ['client_secret_basic', 'client_secret_post'],
  }),
  ...values('apis.storefront.client.secret', /is required/, { bad: [undefined], good: ['secret'] }),
  ...values('apis.storefront.client.secret', /has no value/, { bad: [null], good: ['secret'] }),
  ...values('routes', /must hold at least one entry/, { bad: [[]], good: [] }),
  ...values('routes[0].name', /at most 128 visible characters/, {
    bad: ['a b', 'a"b', 'é', 'a\\b', 'a'.repeat(129)],
    good: ['a/b', 'a'.repeat(128)],
  }),
  ...values('routes[1].name', /repeats the name of routes\[0\]/, {
    bad: ['orders'],
    good: ['Orders'],
  }),
  ...values('routes[0].match.path', /must begin with `\/`/, {
    bad: ['orders', 'https://a/b'],
    good: ['/orders'],
  }),
  ...values('routes[0].match.path', /must not end with/, {
    bad: ['/orders/'],
    good: ['/orders', '/'],
  }),
  ...values('routes[0].match.path', /empty segment/, { bad: ['/a//b'], good: ['/a/b'] }),
  ...values('routes[0].match.path', /dot segment/, {
    bad: ['/a/../b', '/./a', '/a/..', '/..'],
    good: ['/a/.../b', '/.a', '/a../b', '/.well-known'],
  }),
  ...values('routes[0].match.path', /must not hold `/, {
    bad: ['/a%62', '/a;b', '/a?b', '/a#b', '/a b', '/a\\b', '/é', '/a{id}', '/a\u0000'],
    good: ['/a*b', '/a:b', '/a@b', "/a'(b)"],
  }),
  ...values('routes[0].match.path', /parameter/, {
    bad: ['/{i-d}', '/{}', '/{1}', '/{id}/{id}', '/a/{ }'],
    good: ['/{id}', '/{id}/a/{Other_2}'],
  }),
  ...values('routes[0].match.host', /must be a host/, {
    bad: ['API.example', 'api.example:80', '*', '*.*.example', 'a.*', '.example', 'a..b', '[::1]'],
    good: ['api.example', '*.example', ['a.example', '*.b'], 'localhost', '127.0.0.1', 'my_host'],
  }),
  ...values('routes[1].match', /repeats routes\[0\] \(GET \/orders\)/, {
    bad: [{ path: '/orders', methods: ['PUT', 'GET'] }],
    good: [{ path: '/orders', methods: ['PUT', 'DELETE'] }, { path: '/orders' }],
    at: 'routes[1].match.path',
  }),
  ...values('routes[0].match', /repeats routes\[0\] \(\/stock\)/, {
    bad: [{ path: '/stock' }],
    good: [{ path: '/stock/1' }, { path: '/Stock' }],
    at: 'routes[1].match.path',
  }),
  ...values('routes[0].match.methods', /must not repeat a method/, {
    bad: [['GET', 'PUT', 'GET']],
    good: [['GET', 'HEAD']],
  }),
  ...values('routes[0].match.methods', /at least one entry/, { bad: [[]], good: [undefined] }),
  ...values('routes[0].match.methods[0]', /it is never proxied/, {
    bad: ['CONNECT', 'TRACE', 'trace'],
    good: ['OPTIONS', 'PROPFIND'],
  }),
  ...values('routes[0].match.methods[0]', /must be in upper case: `GET`/, {
    bad: ['get'],
    good: ['GET'],
  }),
  ...values('routes[0].match.methods[0]', /must be a method/, {
    bad: ['GE T', 'GET,PUT'],
    good: ['M-SEARCH'],
  }),
  ...values('routes[0].match.pathParameters', /must be `true` or `false`/, {
    bad: ['true', 1],
    good: [true],
  }),
  ...values(
    'routes[0].authenticate.api',
    /there is no API `store-front`, did you mean `storefront`\?/,
    {
      bad: ['store-front'],
      good: ['storefront'],
    },
  ),
  ...values('routes[0].authorize.scopes[0]', /must be a single scope/, {
    bad: ['a b', 'a"', 'a\\', 'é'],
    good: ['a:b', 'https://scope.example/a'],
  }),
  ...values('routes[0].authorize.scopes', /must be a list/, {
    bad: ['a b', 'a'],
    good: [['a'], []],
  }),
  ...values('routes[0].exchange', /needs an `audience`$/, {
    bad: [{}, { scopes: ['a'] }],
    good: [{ audience: 'a' }],
  }),
  ...values('routes[1].exchange', /needs an `audience` or a `resource`/, {
    bad: [{}, { scopes: ['a'] }],
    good: [
      { audience: 'a' },
      { resource: 'https://a.example' },
      { audience: ['a', 'b'], resource: ['https://a.example', 'urn:b'] },
    ],
  }),
  ...values('routes[0].exchange.resource', /profile `auth0` knows no resource indicators/, {
    bad: ['https://a.example'],
    good: [undefined],
  }),
  ...values('routes[0].exchange.audience', /profile `auth0` takes a single one/, {
    bad: [['a', 'b']],
    good: [['a'], 'a'],
  }),
  ...values('routes[0].exchange.scopes', /profile `auth0` gives no `offline_access`/, {
    bad: [['a', 'offline_access']],
    good: [['a', 'online_access']],
  }),
  ...values('routes[0].exchange.delegation', /profile `auth0` takes no actor token/, {
    bad: [true],
    good: [false],
  }),
  ...values('routes[1].exchange.delegation', /must be `true` or `false`/, {
    bad: ['true'],
    good: [true],
  }),
  ...values('routes[1].exchange.resource', /absolute URI/, {
    bad: ['/a', 'a b'],
    good: ['urn:a', 'https://a'],
  }),
  ...values('routes[1].exchange.resource', /fragment/, {
    bad: ['https://a#b'],
    good: ['https://a?b'],
  }),
  ...values('routes[0].exchange.grant', /must be one of `token-exchange`, /, {
    bad: ['refresh_token', 'token_exchange'],
    good: ['token-exchange', 'client-credentials'],
  }),
  ...values('routes[0].exchange.grant', /profile `auth0` takes one of `token-exchange`, /, {
    bad: ['jwt-bearer'],
    good: [undefined],
  }),
  ...values('routes[0].exchange', /needs a `because`/, {
    bad: [{ grant: 'passthrough' }],
    good: [{ grant: 'passthrough', because: 'it is ours' }],
  }),
  ...values('routes[0].exchange', /must not be empty/, {
    bad: [{ grant: 'passthrough', because: '' }],
    good: [{ grant: 'passthrough', because: 'it is ours', expectAudience: 'a' }],
    at: 'routes[0].exchange.because',
  }),
  ...values('routes[0].exchange.because', /is of no use with `grant: token-exchange`/, {
    bad: ['it is ours'],
    good: [undefined],
  }),
  ...values('routes[0].exchange', /is of no use with `grant: none`/, {
    bad: [{ grant: 'none', audience: 'a' }],
    good: [{ grant: 'none' }, { grant: 'none', timeout: '1s' }],
    at: 'routes[0].exchange.audience',
  }),
  ...values('routes[0].exchange', /is of no use with `grant: none`/, {
    bad: [{ grant: 'none', maxAge: '1h' }],
    good: [{ audience: 'a', maxAge: '1h' }],
    at: 'routes[0].exchange.maxAge',
  }),
  ...values('routes[0].exchange', /is of no use with `grant: passthrough`/, {
    bad: [{ grant: 'passthrough', because: 'it is ours', scopes: ['a'] }],
    good: [{ grant: 'passthrough', because: 'it is ours', timeout: '1s' }],
    at: 'routes[0].exchange.scopes',
  }),
  ...values('routes[1].exchange', /is of no use with `grant: client-credentials`/, {
    bad: [{ grant: 'client-credentials', audience: 'a', delegation: false }],
    good: [{ grant: 'client-credentials', audience: 'a' }],
    at: 'routes[1].exchange.delegation',
  }),
  ...values('routes[1].exchange', /needs an `audience`, a `resource` or `scopes`/, {
    bad: [{ grant: 'client-credentials' }],
    good: [{ grant: 'client-credentials', scopes: ['a'] }],
  }),
  ...values('routes[0].exchange.parameters.subject_token', /cannot be replaced/, {
    bad: ['x'],
    good: [{ rename: 'subjectToken' }],
  }),
  ...values('routes[0].exchange.parameters.subject_token', /cannot be left out/, {
    bad: [null],
    good: [undefined],
  }),
  ...values('routes[0].exchange.parameters.scope', /cannot be replaced/, {
    bad: ['admin'],
    good: [null, { rename: 'scopes' }],
  }),
  ...values('routes[0].exchange.parameters', /is no parameter that can be changed/, {
    bad: [{ client_id: 'x' }, { client_assertion: null }, { grant_type: { rename: 'type' } }],
    good: [{ client: 'x' }],
  }),
  ...values('routes[0].exchange.parameters.audience', /is no parameter that can be changed/, {
    bad: [{ rename: 'client_id' }],
    good: [{ rename: 'client' }],
    at: 'routes[0].exchange.parameters.audience.rename',
  }),
  ...values('routes[0].exchange.parameters.audience', /a field with a meaning of its own/, {
    bad: [{ rename: 'subject_token' }],
    good: [{ rename: 'audiences' }],
    at: 'routes[0].exchange.parameters.audience.rename',
  }),
  ...values('routes[0].exchange.parameters', /is the name of another parameter/, {
    bad: [{ audience: { rename: 'x' }, x: 'y' }],
    good: [{ audience: { rename: 'x' }, y: 'x' }],
    at: 'routes[0].exchange.parameters.audience.rename',
  }),
  ...values('routes[0].exchange.parameters.x', /must be text, `null` or `\{ rename: NAME \}`/, {
    bad: [7, ['a'], true],
    good: ['7', '', null],
  }),
  ...values('routes[0].exchange.maxAge', /longer than nothing/, { bad: ['0s'], good: ['7d'] }),
  ...values('routes[0].exchange.timeout', /must be at most 1d/, { bad: ['7d'], good: ['1m'] }),
  ...values('routes[0].proxy.upstream', /must be an `http:` or `https:` URL/, {
    bad: ['127.0.0.1:9001', 'ws://a', '//a', 'http://', 'http://a b', 'http:\\\\a'],
    good: ['http://127.0.0.1:9001', 'https://a.example'],
  }),
  ...values('routes[0].proxy.upstream', /credentials/, {
    bad: ['http://u:p@a'],
    good: ['http://a'],
  }),
  ...values('routes[0].proxy.upstream', /query or a fragment/, {
    bad: ['http://a/?b', 'http://a#', 'http://a?'],
    good: ['http://a/b'],
  }),
  ...values('routes[0].proxy.upstream', /has a base path that/, {
    bad: ['http://a/b/../c', 'http://a//b', 'http://a/%2e', 'http://a/b//'],
    good: ['http://a/b/c', 'http://a/b/', 'http://a/'],
  }),
  ...values('routes[0].proxy.cookies', /must be one of `strip`, `keep`/, {
    bad: ['drop', true],
    good: ['keep'],
  }),
  ...values('cache.maxEntries', /must be at least 1/, { bad: [0], good: [1] }),
  ...values('cache.maxBytes', /must be a size/, {
    bad: ['1MB', '1 MiB', '-1', 1.5, 'much', '0.1KiB'],
    good: ['64KiB', '1.5MiB', 65_536, '65536'],
  }),
  ...values('cache.maxBytes', /at least 64KiB/, { bad: [65_535], good: [65_536] }),
]

function values(
  path: string,
  message: RegExp,
  { bad, good, at }: Pick<Refusal, 'bad' | 'good' | 'at'>,
): readonly Refusal[] {
  return [{ path, message, bad, good, ...(at !== undefined && { at }) }]
}

for (const { path, bad, message, good, at = path } of REFUSALS) {
  for (const value of bad) {
    test(`${path}: ${JSON.stringify(value)} is refused`, () => {
      const faults = faultsOf(changed({ [path]: value }))
      assert.equal(faults.length, 1, told(faults).join('\n'))
      assert.match(faults[0]!.message, message)
      // A list's fault may stand at the entry.
      assert.ok(faults[0]!.path === at || faults[0]!.path.startsWith(`${at}[`), faults[0]!.path)
    })
  }
  for (const value of good) {
    test(`${path}: ${JSON.stringify(value)} is accepted`, () => {
      assert.deepEqual(told(faultsOf(changed({ [path]: value }))), [])
    })
  }
}

for (const [path, key, meant] of [
  ['', 'sever', 'server'],
  ['server', 'publicorigin', 'publicOrigin'],
  ['server.drain', 'timout', 'timeout'],
  ['issuers.tenant', 'isuer', 'issuer'],
  ['apis.storefront', 'audiance', 'audience'],
  ['apis.storefront.client', 'client_id', undefined],
  ['routes[0]', 'exchnage', 'exchange'],
  ['routes[0].exchange', 'audiance', 'audience'],
  ['routes[0].proxy', 'upstrem', 'upstream'],
  ['routes[0].proxy', 'websockets', 'websocket'],
  ['cache', 'reddis', 'redis'],
] as const) {
  test(`an unknown key of ${path || 'the whole'} is named: ${key}`, () => {
    const [fault, ...others] = faultsOf(changed({ [path === '' ? key : `${path}.${key}`]: 'x' }))
    assert.deepEqual(others, [])
    assert.equal(fault?.path, path)
    const hint = meant === undefined ? '; known are `' : `, did you mean \`${meant}\`?`
    assert.ok(fault.message.startsWith(`unknown key \`${key}\`${hint}`), fault.message)
  })
}

for (const name of ['a b', '-a', 'a.b', '', 'é', '__proto__', 'a'.repeat(65)]) {
  test(`an issuer cannot be called ${JSON.stringify(name)}`, () => {
    const entry = { issuer: 'https://x.example', profile: 'rfc8693' }
    const issuers = JSON.parse(`{${JSON.stringify(name)}: ${JSON.stringify(entry)}}`) as object
    const { issuers: others, ...rest } = valid() as { readonly issuers: object }
    const input = { ...rest, issuers: Object.assign(issuers, others) }
    const faults = faultsOf(input)
    assert.equal(faults.length, 1, told(faults).join('\n'))
    assert.match(faults[0]!.message, /must be a name of letters|must not be empty|unknown key/)
  })
}

test('an issuer can be called a-B_9', () => {
  const entry = { issuer: 'https://x.example', profile: 'rfc8693' }
  assert.deepEqual(told(faultsOf(changed({ 'issuers.a-B_9': entry }))), [])
})

test('two routes that are called by the same path need names', () => {
  const unnamed = changed({
    'routes[0].name': undefined,
    'routes[1].name': undefined,
    'routes[1].match': { path: '/orders', methods: ['DELETE'] },
  })
  assert.deepEqual(told(faultsOf(unnamed)), [
    'routes[1]: has the name of routes[0], its path: give it a `name` of its own',
  ])
  assert.deepEqual(faultsOf(changed({ 'routes[1].name': 'deletion' }, unnamed)), [])
})

test('http: beyond loopback is accepted where that is said', () => {
  const plain = changed({ 'issuers.tenant.issuer': 'http://tenant.example/' })
  assert.equal(faultsOf(plain).length, 1)
  assert.deepEqual(faultsOf(changed({ 'issuers.tenant.dangerouslyAllowHttp': true }, plain)), [])
})

test('an admin listener beyond loopback is accepted with a token', () => {
  const open = changed({ 'admin.listen': '0.0.0.0:8081' })
  assert.equal(faultsOf(open).length, 1)
  assert.deepEqual(faultsOf(changed({ 'admin.token': 'a token' }, open)), [])
})

test('every fault is reported at once, whatever it is of', () => {
  const faults = faultsOf(
    changed({
      'server.listen': 'nowhere',
      'admin.listen': '0.0.0.0:1',
      'issuers.tenant.profile': 'auth9',
      'issuers.other.issuer': 'http://other.example',
      'apis.storefront.issuer': 'nobody',
      'apis.backoffice.signingSecret': 'short',
      'routes[0].match.path': 'orders',
      'routes[0].authenticate.api': 'nothing',
      'routes[0].exchange': {},
      'routes[1].proxy.upstream': 'ftp://a',
      'routes[1].match.paths': '/x',
    }),
  )
  assert.deepEqual(faults.map(({ path }) => path).toSorted(), [
    'admin.listen',
    'apis.backoffice.signingSecret',
    'apis.storefront.issuer',
    'issuers.other.issuer',
    'issuers.tenant.profile',
    'routes[0].authenticate.api',
    'routes[0].exchange',
    'routes[0].match.path',
    'routes[1].match',
    'routes[1].proxy.upstream',
    'server.listen',
  ])
})

test('what is wrong with an issuer is not said again of the APIs and routes that use it', () => {
  const faults = faultsOf(changed({ 'issuers.tenant.issuer': 'nowhere' }))
  assert.deepEqual(
    faults.map(({ path }) => path),
    ['issuers.tenant.issuer'],
  )
})

test('no message quotes a secret', () => {
  const word = 'sEcReT-wOrD'
  const faults = faultsOf(
    changed({
      'apis.backoffice.signingSecret': word,
      'apis.storefront.client.secret': { [word]: word }[word.slice(1)] ?? [word],
      'apis.storefront.client.method': word,
      'apis.storefront.client.id': { id: word },
      'admin.token': [word],
      'routes[0].proxy.upstream': `http://user:${word}@a`,
      'issuers.tenant.issuer': `https://user:${word}@a`,
    }),
  )
  assert.equal(faults.length, 7)
  assert.ok(!new ConfigError(faults).message.includes(word))
})

for (const input of [[], {}, new Map(), [valid()]]) {
  test(`${Object.prototype.toString.call(input)} of length ${Object.keys(input).length} is no configuration`, () => {
    assert.throws(() => readConfig(input), { code: 'invalid_configuration' })
  })
}

test('an object that holds itself is refused, and ends', () => {
  const input = changed({}) as { server: Record<string, unknown> }
  input.server['trustedProxies'] = [input.server, input.server]
  assert.match(told(faultsOf(input))[0]!, /holds itself/)
})
