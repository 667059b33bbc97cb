import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../src/config/faults.ts'
import { readConfig } from '../../src/config/load.ts'
import type { Route } from '../../src/config/config.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { oneRoute } from '../system.ts'

const UPSTREAM = { upstream: 'http://127.0.0.1:9001' }

function read(proxy: object, match: object = {}): Route['proxy'] {
  const setting = { issuer: 'http://127.0.0.1:1/', upstream: '' }
  const configuration = oneRoute(setting) as { routes: Record<string, unknown>[] }
  const [route] = configuration.routes
  const routes = [{ ...route, match: { path: '/api/orders', ...match }, proxy }]
  return readConfig({ ...configuration, routes }).routes[0]!.proxy
}

function faults(proxy: object, match: object = {}): readonly string[] {
  try {
    read(proxy, match)
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.faults.map(({ path, message }) => `${path}: ${message}`)
  }
}

const AT = 'routes[0].proxy'

test('one upstream, or several with weights, and never both', () => {
  const upstreams = [{ url: 'http://a.example' }, { url: 'http://b.example/base', weight: 3 }]
  assert.deepEqual(read(UPSTREAM).upstreams, [{ url: 'http://127.0.0.1:9001', weight: 1 }])
  assert.deepEqual(read({ upstreams }).upstreams, [
    { url: 'http://a.example', weight: 1 },
    { url: 'http://b.example/base', weight: 3 },
  ])
  assert.deepEqual(faults({}), [`${AT}.upstream: is required, or \`upstreams\``])
  assert.deepEqual(faults({ ...UPSTREAM, upstreams }), [
    `${AT}.upstreams: stands beside \`upstream\`: only one of them can be meant`,
  ])
  assert.deepEqual(faults({ upstreams: [upstreams[0], upstreams[0]] }), [
    `${AT}.upstreams[1].url: repeats upstreams[0]: give it a weight`,
  ])
  for (const weight of [0, -1, 1.5, 1_001]) {
    assert.equal(faults({ upstreams: [{ url: 'http://a.example', weight }] }).length, 1)
  }
})

test('a unix socket has an absolute path', () => {
  assert.deepEqual(read({ upstream: 'unix:/run/app.sock' }).upstreams, [
    { url: 'unix:/run/app.sock', weight: 1 },
  ])
  for (const upstream of ['unix:', 'unix:app.sock', 'unix:/run/', `unix:/${'a'.repeat(103)}`]) {
    assert.equal(faults({ upstream }).length, 1, upstream)
  }
})

test('strip takes whole segments off the beginning of the route’s path', () => {
  for (const strip of ['/api', '/api/orders']) {
    assert.equal(read({ ...UPSTREAM, strip }).strip, strip)
  }
  for (const strip of ['/ap', '/api/order', '/api/orders/1', '/orders', '/API', '/api/', '/']) {
    assert.equal(faults({ ...UPSTREAM, strip }).length, 1, strip)
  }
  assert.deepEqual(faults({ ...UPSTREAM, strip: '/api' }, { pathParameters: true }), [
    `${AT}.strip: does not go with \`match.pathParameters\``,
  ])
})

test('a prefix is a path in its one spelling', () => {
  assert.equal(read({ ...UPSTREAM, prefix: '/v2' }).prefix, '/v2')
  for (const prefix of ['v2', '/v2/', '/a//b', '/a/../b', '/a?b', '/a%2fb']) {
    assert.equal(faults({ ...UPSTREAM, prefix }).length, 1, prefix)
  }
})

test('a connection may take two seconds, and never longer than the upstream may be silent', () => {
  assert.equal(read(UPSTREAM).connectTimeoutMs, 2_000)
  assert.equal(read({ ...UPSTREAM, timeout: '1s' }).connectTimeoutMs, 1_000)
  assert.equal(read({ ...UPSTREAM, connectTimeout: '5s' }).connectTimeoutMs, 5_000)
})

test('what TLS options would not be used is refused', { skip: NO_OPENSSL }, () => {
  const authority = createAuthority()
  const { certificate, key } = authority.issue('gateway')
  const secure = { upstream: 'https://orders.internal' }
  const tls = { authorities: authority.certificate, certificate, key }
  assert.deepEqual(read({ ...secure, tls }).tls, {
    authorities: authority.certificate,
    identity: { certificate: { pem: certificate }, key: { pem: key } },
  })
  for (const [proxy, fault] of [
    [{ ...UPSTREAM, tls }, /\.tls: is of no use without an `https:` upstream$/],
    [{ ...secure, tls: { key } }, /\.tls\.key: is of no use without `certificate`$/],
    [{ ...secure, tls: { certificate } }, /\.tls\.certificate: needs a `key`/],
    [{ ...secure, tls: { authorities: '/nowhere.pem' } }, /\.tls\.authorities: names a file/],
    [{ ...secure, tls: { authorities: key } }, /\.tls\.authorities: must be certificates in PEM/],
    [
      { ...secure, tls: { ...tls, key: authority.issue('other').key } },
      /\.tls\.key: is not the key of the certificate$/,
    ],
  ] as const) {
    const [first = '', ...others] = faults(proxy)
    assert.deepEqual(others, [])
    assert.match(first, fault)
    assert.equal(first.includes('PRIVATE KEY'), false)
  }
})

test('WebSockets are taken where a route says so, with defaults of their own', () => {
  assert.equal(read(UPSTREAM).websocket, undefined)
  assert.deepEqual(read({ ...UPSTREAM, websocket: {} }).websocket, {
    expiry: 'close',
    idleMs: 300_000,
  })
  assert.deepEqual(read({ ...UPSTREAM, websocket: { expiry: 'keep', idle: '1h' } }).websocket, {
    expiry: 'keep',
    idleMs: 3_600_000,
  })
  for (const websocket of [true, { expiry: 'never' }, { idle: '0s' }, { ping: '5s' }]) {
    assert.equal(faults({ ...UPSTREAM, websocket }).length, 1, JSON.stringify(websocket))
  }
})

test('what both ends of a WebSocket agree on is not a route’s to change', () => {
  for (const name of ['Sec-WebSocket-Key', 'sec_websocket_accept', 'Sec-WebSocket-Protocol']) {
    const headers = { set: { [name]: 'x' }, response: { remove: [name] } }
    assert.equal(faults({ ...UPSTREAM, headers }).length, 2, name)
  }
})

test('HTTP/2 is spoken to upstreams where a route says so, and opens no WebSockets', () => {
  assert.equal(read(UPSTREAM).http2, false)
  assert.equal(read({ ...UPSTREAM, http2: true }).http2, true)
  assert.deepEqual(faults({ ...UPSTREAM, http2: true, websocket: {} }), [
    `${AT}.websocket: does not go with \`http2\`: WebSockets open by HTTP/1.1 alone`,
  ])
  assert.equal(faults({ ...UPSTREAM, http2: 'h2c' }).length, 1)
})
