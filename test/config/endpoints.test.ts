import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../src/config/faults.ts'
import { readConfig } from '../../src/config/load.ts'
import { oneRoute } from '../system.ts'

type Changed = Readonly<Record<string, object | undefined>>

function faultsOf(endpoints: object, exchange?: object, client?: object): readonly string[] {
  const setting = { issuer: 'https://issuer.example/', upstream: 'http://127.0.0.1:9' }
  const { routes, ...others } = oneRoute({ ...setting, ...(client && { client }) }) as Changed & {
    readonly routes: readonly object[]
  }
  const route = { ...routes[0], ...(exchange && { exchange }) }
  try {
    readConfig({ ...others, routes: [route], endpoints })
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.faults.map(({ path, message }) => `${path}: ${message}`)
  }
}

const TOKEN = { listen: '127.0.0.1:0', routes: ['orders'] }

for (const [what, endpoints, exchange, fault] of [
  [
    'a forward-auth that does not say where requests are named',
    { forwardAuth: {} },
    undefined,
    /forwardAuth\.original/,
  ],
  [
    'a route that there is not',
    { token: { routes: ['order'] } },
    undefined,
    /token\.routes\[0\]: there is no route `order`.*`orders`/,
  ],
  [
    'a route that is listed twice',
    { token: { routes: ['orders', 'orders'] } },
    undefined,
    /routes\[1\]: repeats/,
  ],
  ['a route that has no token', { token: TOKEN }, { grant: 'none' }, /routes\[0\]: has no token/],
  [
    'callers who need not say who they are beyond loopback',
    { token: { ...TOKEN, listen: '0.0.0.0:1', clients: 'none' } },
    undefined,
    /token\.clients: `none` is for loopback/,
  ],
  [
    'two doors at one address',
    { forwardAuth: { original: 'path', listen: '127.0.0.1:8080' } },
    undefined,
    /forwardAuth\.listen: repeats `server\.listen`/,
  ],
] as const) {
  test(`${what}: refused, and where is said`, () => {
    const faults = faultsOf(endpoints, exchange)
    assert.equal(faults.length, 1, faults.join('\n'))
    assert.match(faults[0]!, fault)
  })
}

test('a client without a secret cannot be told from another, unless nobody is', () => {
  const client = { id: 'storefront', assertionFile: 'package.json' }
  assert.match(faultsOf({ token: TOKEN }, undefined, client)[0] ?? '', /whose client has a secret/)
  assert.deepEqual(faultsOf({ token: { ...TOKEN, clients: 'none' } }, undefined, client), [])
})

test('both doors as they are meant', () => {
  assert.deepEqual(faultsOf({ token: TOKEN, forwardAuth: { original: 'headers' } }), [])
})
