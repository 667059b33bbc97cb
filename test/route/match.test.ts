import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Route } from '../../src/config/config.ts'
import { createMatch } from '../../src/route/match.ts'

type MatchOptions = Partial<Route['match']>

/** A route of which only its name and `match` count here. */
function route(path: string, options: MatchOptions & { name?: string } = {}): Route {
  const { name = path, ...rest } = options
  return { name, match: { path, methods: undefined, pathParameters: false, ...rest } } as Route
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
