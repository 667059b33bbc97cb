import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { readConfig } from '../../src/config/load.ts'
import { changed, faultsOf, told } from './given.ts'

const KEY = randomBytes(32).toString('base64')
const REDIS = { url: 'redis://127.0.0.1:6379', sealingKeys: [KEY] }

const faults = (changes: object, more: object = {}): readonly string[] =>
  told(faultsOf(changed({ 'cache.redis': { ...REDIS, ...changes }, ...more })))

test('Redis is where it is said to be, and nothing is shared that rests on the key alone', () => {
  const { cache } = readConfig(changed({ 'cache.redis': REDIS }), { environment: {} })
  assert.deepEqual(cache.redis, {
    url: REDIS.url,
    sealingKeys: [Buffer.from(KEY, 'base64')],
    shareContext: false,
    timeoutMs: 20,
    resp: 3,
  })
  assert.equal(readConfig(changed({}), { environment: {} }).cache.redis, undefined)
})

for (const url of [
  'rediss://user:password@redis.example:6380/3',
  'redis://redis.example',
  'redis://[::1]:6379/0',
]) {
  test(`${url} is an address`, () => assert.deepEqual(faults({ url }), []))
}

for (const url of [
  'http://redis.example',
  'redis.example:6379',
  'redis:///0',
  'redis://redis.example/orders',
  'redis://redis.example/0?tls=true',
  'redis://redis.example/0#a',
  '',
]) {
  test(`${JSON.stringify(url)} is none, and is not told`, () => {
    const [fault = '', ...others] = faults({ url })
    assert.ok(fault.startsWith('cache.redis.url: '), fault)
    assert.deepEqual(others, [])
  })
}

for (const [what, sealingKeys] of [
  ['none', []],
  ['one that is short', [randomBytes(31).toString('base64')]],
  ['one that is long', [randomBytes(33).toString('base64')]],
  ['one in base64url', [Buffer.alloc(32, Buffer.from([0xfb, 0xff, 0xfe])).toString('base64url')]],
  ['one of nothing but zeros', [Buffer.alloc(32).toString('base64')]],
  ['one with a line break', [`${KEY}\n`]],
  ['one twice', [KEY, KEY]],
  ['more than three', [1, 2, 3, 4].map(() => randomBytes(32).toString('base64'))],
] as const) {
  test(`of sealing keys, ${what} will not do`, () => {
    const [fault = '', ...others] = faults({ sealingKeys })
    assert.ok(fault.startsWith('cache.redis.sealingKeys'), fault)
    assert.equal(fault.includes(KEY), false)
    assert.deepEqual(others, [])
  })
}

test('an answer is waited for ten seconds at most', () => {
  assert.deepEqual(faults({ timeout: '10s' }), [])
  assert.deepEqual(faults({ timeout: '10001ms' }), ['cache.redis.timeout: must be at most 10s'])
})

test('to share contexts means something where a route has one', () => {
  const shared = { shareContext: true }
  assert.deepEqual(faults(shared), [
    'cache.redis.shareContext: is of no use without a route with `key: context` or `grant: client-credentials`',
  ])
  assert.deepEqual(faults(shared, { 'routes[0].exchange.key': 'context' }), [])
})
