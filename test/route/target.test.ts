import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../src/errors.ts'
import { canonicalTarget } from '../../src/route/target.ts'

const host = 'gateway.example'

function accepted(raw: string): string {
  const { path, query } = canonicalTarget(raw, { host })
  return path + query
}

function assertRefused(raw: string): void {
  assert.throws(
    () => canonicalTarget(raw, { host }),
    (error) => error instanceof GatewayError && error.code === 'invalid_request_target',
    JSON.stringify(raw),
  )
}

test('ordinary targets pass byte for byte', () => {
  for (const raw of [
    '/',
    '/?',
    '/?a',
    '/orders',
    '/orders/',
    '/orders/1',
    '/orders?page=2&sort=-id',
    '/orders?next=//a/../b\\c%2e%zz;d"<>{}',
    "/a-b._~!$&'()*+,=:@/c[0]|d",
    '/.well-known/openid-configuration',
    '/a/..b/b../.c/c./...',
    '/caf%C3%A9/%20/%7C',
    '/100%25',
    '/100%25/of%2520it',
    '/orders;v=1',
    '/%3B',
  ]) {
    assert.equal(accepted(raw), raw)
  }
})

test('the query begins at the first question mark', () => {
  assert.deepEqual(canonicalTarget('/a?b?c', { host }), { path: '/a', query: '?b?c' })
  assert.deepEqual(canonicalTarget('/a', { host }), { path: '/a', query: '' })
})

// Each with a twin that differs in the attacked property alone.
for (const [fault, refused, twin] of [
  ['an empty first segment', '//orders', '/orders'],
  ['an empty segment', '/orders//1', '/orders/1'],
  ['an empty last segment', '/orders//', '/orders/'],
  ['a backslash', '/orders\\1', '/orders/1'],
  ['a backslash after the slash', '/\\orders', '/orders'],
  ['a fragment', '/orders#1', '/orders'],
  ['a fragment in the query', '/orders?a#1', '/orders?a'],
  ['dot dot', '/orders/../admin', '/orders/..admin'],
  ['dot dot at the end', '/orders/..', '/orders/..a'],
  ['a dot', '/orders/./1', '/orders/.1'],
  ['a dot at the end', '/orders/.', '/orders/.a'],
  ['dot dot before the query', '/orders/..?a', '/orders/..a?a'],
  ['dot dot with a parameter', '/orders/..;a/admin', '/orders/..a;a/admin'],
  ['a dot with a parameter', '/orders/.;/admin', '/orders/.a;/admin'],
  ['dot dot with an encoded semicolon', '/orders/..%3B/admin', '/orders/..a%3B/admin'],
  ['encoded dot dot', '/orders/%2e%2e/admin', '/orders/aa/admin'],
  ['half-encoded dot dot', '/orders/.%2E/admin', '/orders/.a/admin'],
  ['half-encoded dot dot, the other half', '/orders/%2e./admin', '/orders/a./admin'],
  ['encoded dot dot with a parameter', '/orders/%2e%2E;a/admin', '/orders/aa;a/admin'],
  ['an encoded slash', '/orders%2f1', '/orders%201'],
  ['an encoded slash, upper case', '/orders%2F1', '/orders%201'],
  ['an encoded backslash', '/orders%5c1', '/orders%5d1'],
  ['an encoded NUL', '/orders%00', '/orders%20'],
  ['an encoded letter', '/%61dmin', '/admin'],
  ['an encoded digit', '/orders/%31', '/orders/1'],
  ['an encoded hyphen', '/a%2db', '/a-b'],
  ['an encoded underscore', '/a%5Fb', '/a_b'],
  ['an encoded tilde', '/a%7eb', '/a~b'],
  ['a malformed percent', '/orders/%', '/orders/%25'],
  ['a short percent', '/orders/%2', '/orders/%25'],
  ['a percent without hexadecimal digits', '/orders/%zz', '/orders/%aa'],
  ['the u spelling', '/orders/%u002e', '/orders/u002e'],
  ['a twice encoded dot', '/orders/%252e%252e/1', '/orders/%2520/1'],
  ['a twice encoded slash', '/orders%252F1', '/orders%25201'],
  ['a twice encoded backslash', '/orders%255c1', '/orders%255b1'],
  ['a twice encoded NUL', '/orders%2500', '/orders%2520'],
  ['a thrice encoded dot', '/orders/%25252e', '/orders/%252520'],
  ['a deeply encoded slash', '/orders/%252525252f', '/orders/%2525252520'],
  ['a twice encoded letter', '/%2561dmin', '/%2520dmin'],
  ['an overlong slash', '/orders%c0%af1', '/orders%c3%af1'],
  ['an overlong dot', '/orders/%C0%AE', '/orders/%C3%AE'],
  ['an overlong slash of three bytes', '/orders%e0%80%af', '/orders%e0%a0%af'],
  ['an overlong slash of four bytes', '/orders%f0%80%80%af', '/orders%f0%90%80%af'],
  ['a segment of parameters alone', '/;a/orders', '/b;a/orders'],
  ['a space', '/orders/ 1', '/orders/1'],
  ['a space in the query', '/orders?a b', '/orders?a+b'],
  ['a tab', '/\t/orders', '/t/orders'],
  ['a control byte', '/orders\x01', '/orders1'],
  ['a control byte in the query', '/orders?\x1f', '/orders?1f'],
  ['DEL', '/orders\x7f', '/orders~'],
  ['a byte above 0x7E', '/caf\xe9', '/caf%C3%A9'],
  ['a byte above 0x7E in the query', '/orders?\xe9', '/orders?%C3%A9'],
  ['a line feed at the end', '/orders\n', '/orders'],
  ['a line feed after the query', '/orders?a\n', '/orders?a'],
  ['what browsers would encode', '/a{b}', '/a%7Bb%7D'],
  ['nothing', '', '/'],
  ['asterisk-form', '*', '/*'],
  ['authority-form', 'gateway.example:443', '/gateway.example:443'],
  ['no leading slash', 'orders', '/orders'],
] as const) {
  test(`refused: ${fault}`, () => {
    assertRefused(refused)
    assert.equal(accepted(twin), twin)
  })
}

test('absolute-form is read as origin-form where its authority is the Host', () => {
  for (const [raw, path, query] of [
    ['http://gateway.example/orders?a', '/orders', '?a'],
    ['https://gateway.example/orders', '/orders', ''],
    ['HTTP://GATEWAY.example/Orders', '/Orders', ''],
    ['http://gateway.example', '/', ''],
    ['http://gateway.example?a', '/', '?a'],
  ] as const) {
    assert.deepEqual(canonicalTarget(raw, { host }), { path, query })
  }
})

test('absolute-form of anything else is refused', () => {
  for (const raw of [
    'http://other.example/orders',
    'http://gateway.example:8080/orders',
    'http://gateway.example.other/orders',
    'http://user@gateway.example/orders',
    'http:///orders',
    'http:/orders',
    'ftp://gateway.example/orders',
    'javascript:alert(1)',
    'http://gateway.example//orders',
    'http://gateway.example/../orders',
    'http://gateway.example\\orders',
    'http://gateway.example#/orders',
  ]) {
    assertRefused(raw)
  }
  for (const other of [undefined, '', 'other.example']) {
    assert.throws(() => canonicalTarget('http://gateway.example/', { host: other }), {
      code: 'invalid_request_target',
    })
  }
  assert.throws(() => canonicalTarget('http://u@gateway.example/', { host: 'u@gateway.example' }), {
    code: 'invalid_request_target',
  })
})

const hostile = fc.array(
  fc.oneof(
    fc.constantFrom(
      ...['/', '//', '.', '..', ';', '%2e', '%2E', '%2f', '%5c', '%00', '%25', '25', '2e', '2f'],
      ...['\\', '#', '?', '%', '%c0', '%af', 'a', 'admin', '%61', ' ', '\t', '\x7f', '\xe9', '@'],
      ...[':', '|', '[', '~', 'http://', 'gateway.example', '&', '=', '%20', '%c3%a9', '%3b'],
    ),
    fc.string({ maxLength: 3 }),
  ),
  { maxLength: 12 },
)

test('what is accepted is what every reader resolves it to', () => {
  fc.assert(
    fc.property(hostile, (parts) => {
      const raw = `/${parts.join('')}`
      let target
      try {
        target = canonicalTarget(raw, { host })
      } catch (error) {
        assert.equal((error as GatewayError).code, 'invalid_request_target')
        return
      }
      assert.equal(target.path + target.query, raw)
      const url = new URL(`http://${host}${raw}`)
      assert.equal(url.host, host)
      assert.equal(url.pathname, target.path)
      assert.equal(new URL(raw, `http://${host}`).href, url.href)
      for (let path = target.path, depth = 0; depth < 4; depth++) {
        assert.doesNotMatch(path, /\/\.{1,2}(?:[/;]|$)|\/\/|\\|\0/)
        assert.equal(path.split('/').length, target.path.split('/').length)
        try {
          path = decodeURIComponent(path)
        } catch {
          break
        }
      }
    }),
    { numRuns: 5_000 },
  )
})

test('the careful reading accepts whatever the quick one does', () => {
  const plain = fc.stringMatching(/^(?:\/[A-Za-z0-9\-._~!$&'()*+,=:@[\]|]{1,8}){0,5}\/?$/)
  fc.assert(
    fc.property(plain, (path) => {
      const dots = path === '' || path.split('/').some((segment) => /^\.{1,2}$/.test(segment))
      if (dots) assertRefused(path)
      // The encoded space sends it to the careful reading.
      else for (const raw of [path, `${path}%20`]) assert.equal(accepted(raw), raw)
    }),
    { numRuns: 2_000 },
  )
})

test('a long hostile target is judged in linear time', () => {
  const started = process.cpuUsage()
  for (const unit of ['/a', '/.', '%25', '%', 'a', '//', ';']) {
    const raw = `/${unit.repeat(8_000)} `
    assertRefused(raw)
  }
  const { user, system } = process.cpuUsage(started)
  // Quadratic would be seconds.
  assert.ok((user + system) / 1_000 < 500, `${(user + system) / 1_000} ms of CPU`)
})
