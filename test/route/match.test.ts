import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Route } from '../../src/config/config.ts'
import { createMatch } from '../../src/route/match.ts'

type MatchOptions = Partial<Route['match']>

/** A route of which only its name and `match` count here. */
function route(path: string, options: MatchOptions & { name?: string } = {}): Route {
  const { name = path, ...rest } = options
  return {
    name,
    match: { path, hosts: [], methods: undefined, pathParameters: false, ...rest },
  } as Route
}

function target(path: string) {
  return { path, query: '' }
}

test('a path ends at a segment: /orders does not hold /orders-admin', () => {
  const match = createMatch([route('/orders')])
  for (const path of ['/orders', '/orders/', '/orders/1', '/orders/1/items/']) {
    assert.equal(match('GET', undefined, target(path)).name, '/orders')
  }
  for (const path of ['/orders-admin', '/order', '/', '/Orders', '/ORDERS/1', '/a/orders']) {
    assert.throws(() => match('GET', undefined, target(path)), { code: 'route_not_found' })
  }
})

test('the longest path of whole segments wins, whatever the order', () => {
  const routes = ['/', '/orders', '/orders/archive/old', '/orders/archive'].map((path) =>
    route(path),
  )
  for (const order of [routes, routes.toReversed()]) {
    const match = createMatch(order)
    for (const [path, name] of [
      ['/', '/'],
      ['/inventory', '/'],
      ['/orders', '/orders'],
      ['/orders/1', '/orders'],
      ['/orders/archive', '/orders/archive'],
      ['/orders/archive-1', '/orders'],
      ['/orders/archive/new', '/orders/archive'],
      ['/orders/archive/old/1', '/orders/archive/old'],
    ] as const) {
      assert.equal(match('GET', undefined, target(path)).name, name)
    }
  }
})

test('a place between two routes belongs to the shorter', () => {
  const match = createMatch([route('/a'), route('/a/b/c')])
  assert.equal(match('GET', undefined, target('/a/b')).name, '/a')
  assert.equal(match('GET', undefined, target('/a/b/d')).name, '/a')
})

test('a trailing slash in the configuration changes nothing', () => {
  const match = createMatch([route('/orders/')])
  assert.equal(match('GET', undefined, target('/orders')).name, '/orders/')
})

test('several routes share a path by their methods', () => {
  const match = createMatch([
    route('/orders', { name: 'read', methods: ['GET', 'HEAD'] }),
    route('/orders', { name: 'write', methods: ['POST'] }),
    route('/orders', { name: 'rest' }),
  ])
  assert.equal(match('GET', undefined, target('/orders')).name, 'read')
  assert.equal(match('POST', undefined, target('/orders')).name, 'write')
  assert.equal(match('DELETE', undefined, target('/orders')).name, 'rest')
})

test('405 is decided at the most specific path, with Allow, and never falls back to a shorter one', () => {
  const match = createMatch([
    route('/', { name: 'everything' }),
    route('/orders', { methods: ['GET', 'POST'] }),
  ])
  assert.throws(() => match('DELETE', undefined, target('/orders/1')), {
    code: 'method_not_allowed',
    allow: ['GET', 'POST'],
  })
  assert.equal(match('DELETE', undefined, target('/other')).name, 'everything')
})

test('HEAD and a method in lower case are taken only where they are listed', () => {
  const match = createMatch([route('/orders', { methods: ['GET'] })])
  assert.equal(match('GET', undefined, target('/orders')).name, '/orders')
  for (const method of ['HEAD', 'get']) {
    assert.throws(() => match(method, undefined, target('/orders')), { code: 'method_not_allowed' })
  }
})

test('a route without methods takes all but CONNECT and TRACE', () => {
  const match = createMatch([route('/orders')])
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
    assert.equal(match(method, undefined, target('/orders')).name, '/orders')
  }
  for (const method of ['CONNECT', 'TRACE']) {
    assert.throws(() => match(method, undefined, target('/orders')), {
      code: 'method_not_allowed',
      allow: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    })
  }
})

test('path parameters pass only where the route takes them', () => {
  const match = createMatch([
    route('/', { name: 'open', pathParameters: true }),
    route('/orders', { name: 'closed' }),
  ])
  assert.equal(match('GET', undefined, target('/items;v=1/2')).name, 'open')
  assert.equal(match('GET', undefined, target('/orders/1')).name, 'closed')
  for (const path of ['/orders/1;v=1', '/orders;v=1', '/orders;/1', '/orders/;']) {
    assert.throws(
      () => match('GET', undefined, target(path)),
      { code: 'invalid_request_target' },
      path,
    )
  }
})

test('names of Object.prototype are ordinary segments', () => {
  const match = createMatch([route('/orders')])
  for (const path of ['/__proto__', '/constructor', '/orders/__proto__', '/toString/orders']) {
    if (path.startsWith('/orders')) assert.ok(match('GET', undefined, target(path)))
    else
      assert.throws(() => match('GET', undefined, target(path)), { code: 'route_not_found' }, path)
  }
  assert.throws(
    () => createMatch([route('/a', { methods: ['GET'] })])('constructor', '', target('/a')),
    {
      code: 'method_not_allowed',
    },
  )
})

test('routes that take the same requests are refused at creation', () => {
  assert.throws(() => createMatch([route('/a'), route('/a/')]), TypeError)
  assert.throws(
    () => createMatch([route('/a', { methods: ['GET'] }), route('/a', { methods: ['GET'] })]),
    TypeError,
  )
  createMatch([route('/a', { methods: ['GET'] }), route('/a', { methods: ['POST'] }), route('/a')])
})

test('matching among 10 000 routes costs what it costs among 10', () => {
  const paths = (count: number) =>
    Array.from({ length: count }, (_, index) => `/team-${index % 100}/service-${index}`)
  const few = createMatch(paths(10).map((path) => route(path)))
  const many = createMatch(paths(10_000).map((path) => route(path)))
  const asked = paths(10).map((path) => target(`${path}/items/1`))
  const cost = (match: typeof few): number => {
    const started = process.cpuUsage()
    for (let round = 0; round < 20_000; round++) {
      for (const each of asked) match('GET', undefined, each)
    }
    const { user, system } = process.cpuUsage(started)
    return user + system
  }
  cost(few)
  cost(many)
  const ratio = Math.min(cost(many), cost(many)) / Math.min(cost(few), cost(few))
  // A search through the routes would make it a thousand.
  assert.ok(ratio < 10, `${ratio}`)
})

test('a name of a route in other clothes is refused where it would be taken by a shorter one', () => {
  const routes = [route('/orders'), route('/orders/admin/users'), route('/Mixed')]
  const match = createMatch(routes)
  for (const path of [
    '/orders/ADMIN',
    '/orders/Admin/users',
    '/orders/admin/USERS/1',
    '/orders/admin%3b',
    '/orders/admin%3Bx/users',
    '/orders/admin%253bx',
    '/orders/admin%25253B',
    '/orders/admin%3f',
    '/orders/admin%3Fx',
    '/orders/admin%23',
    '/orders/admin%20',
    '/orders/admin%2520',
    '/orders/admin.',
    '/orders/admin..%20.',
    '/orders/ADMIN%20%3b.',
    '/orders/...',
    '/orders/%20/admin/users',
  ]) {
    assert.throws(
      () => match('GET', undefined, target(path)),
      { code: 'invalid_request_target' },
      path,
    )
  }
  for (const path of [
    '/orders/admins',
    '/orders/admin%20s',
    '/orders/admin-%3f',
    '/orders/20',
    '/orders/2520',
    '/orders/%20admin',
    '/orders/1/ADMIN',
    '/orders/1/...',
  ]) {
    assert.equal(match('GET', undefined, target(path)).name, '/orders', path)
  }
  // Nobody else would take it.
  for (const path of ['/ORDERS', '/orders%3f', '/mixed', '/MIXED.']) {
    assert.throws(() => match('GET', undefined, target(path)), { code: 'route_not_found' }, path)
  }
})

test('a segment of a million dots and spaces is judged in no time', () => {
  const match = createMatch([route('/orders'), route('/orders/admin')])
  for (const tail of ['.', '%20', '25', '%25', '%2520', '20', '%3b%']) {
    const started = process.cpuUsage()
    const path = `/orders/x${tail.repeat(200_000)}y`
    match('GET', undefined, target(path))
    match('GET', undefined, target(path.slice(0, -1)))
    const { user } = process.cpuUsage(started)
    assert.ok(user < 500_000, `${tail}: ${user} microseconds`)
  }
})

test('a parameter is one whole segment, and a name comes before it', () => {
  const match = createMatch(
    ['/orders/{id}/items', '/orders/{id}', '/orders/new', '/a/b/c', '/a/{x}/d', '/{any}'].map(
      (path) => route(path),
    ),
  )
  for (const [path, name] of [
    ['/orders/1', '/orders/{id}'],
    ['/orders/1/', '/orders/{id}'],
    ['/orders/1/other', '/orders/{id}'],
    ['/orders/1/items', '/orders/{id}/items'],
    ['/orders/1/items/2', '/orders/{id}/items'],
    ['/orders/new', '/orders/new'],
    // The name decides, though the parameter's path would be longer.
    ['/orders/new/items', '/orders/new'],
    ['/a/b/c', '/a/b/c'],
    ['/a/b/d', '/a/{x}/d'],
    ['/a/b', '/{any}'],
    ['/orders', '/{any}'],
    ['/orders/', '/{any}'],
    ['/x/y/z', '/{any}'],
  ] as const) {
    assert.equal(match('GET', undefined, target(path)).name, name, path)
  }
  assert.throws(() => match('GET', undefined, target('/')), { code: 'route_not_found' })
  assert.throws(() => match('GET', undefined, target('/orders/NEW')), {
    code: 'invalid_request_target',
  })
})

test('parameters of other names are the same path', () => {
  assert.throws(() => createMatch([route('/a/{id}'), route('/a/{name}')]), TypeError)
})

test('the very host comes before its wildcard, and that before any', () => {
  const match = createMatch([
    route('/orders', { name: 'api', hosts: ['api.example'] }),
    route('/orders', { name: 'wild', hosts: ['*.example', '*.other'] }),
    route('/orders', { name: 'any' }),
    route('/health', { name: 'health' }),
    route('/orders/wild', { name: 'deep', hosts: ['*.example'] }),
  ])
  for (const [host, path, name] of [
    ['api.example', '/orders', 'api'],
    ['API.Example:8443', '/orders/1', 'api'],
    ['api.example.', '/orders', 'api'],
    ['api.example', '/orders/wild', 'api'],
    ['shop.example', '/orders', 'wild'],
    ['shop.example', '/orders/wild', 'deep'],
    ['shop.other', '/orders', 'wild'],
    ['a.b.example', '/orders', 'any'],
    ['example', '/orders', 'any'],
    ['.example', '/orders', 'any'],
    ['api.example.evil', '/orders', 'any'],
    ['[::1]:80', '/orders', 'any'],
    [undefined, '/orders', 'any'],
    ['api.example', '/health', 'health'],
  ] as const) {
    assert.equal(match('GET', host, target(path)).name, name, `${host}${path}`)
  }
  assert.throws(() => match('GET', 'api.example', target('/')), { code: 'route_not_found' })
})

test('the method is judged on the path that the host decided', () => {
  const match = createMatch([
    route('/orders', { name: 'api', hosts: ['api.example'], methods: ['GET'] }),
    route('/orders', { name: 'any' }),
  ])
  assert.throws(() => match('POST', 'api.example', target('/orders')), {
    code: 'method_not_allowed',
  })
  assert.equal(match('POST', 'other.example', target('/orders')).name, 'any')
})
