import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { readConfig } from '../../src/config/load.ts'
import type { RedisConfig } from '../../src/config/redis.ts'
import { changed, faultsOf, told } from './given.ts'

const KEY = randomBytes(32).toString('base64')
const REDIS = { url: 'redis://127.0.0.1:6379', sealingKeys: [KEY] }

const faults = (changes: object, more: object = {}): readonly string[] =>
  told(faultsOf(changed({ 'cache.redis': { ...REDIS, ...changes }, ...more })))

test('Redis is where it is said to be, and nothing is shared that rests on the key alone', () => {
  const { cache } = readConfig(changed({ 'cache.redis': REDIS }), { environment: {} })
  assert.deepEqual(cache.redis, {
    servers: { kind: 'single', address: { host: '127.0.0.1', port: 6379 } },
    ...{ user: undefined, password: undefined, database: 0, tls: undefined },
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
  'redis://:pass%20word@redis.example',
  'unix:/run/redis/redis.sock',
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
  'redis://user@redis.example',
  'redis://user:%zz@redis.example',
  'unix:redis.sock',
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
    'cache.redis.shareContext: is of no use without a route with `key: context`, `grant: client-credentials` or `renew: refresh-token`',
  ])
  assert.deepEqual(faults(shared, { 'routes[0].exchange.key': 'context' }), [])
  const renewing = {
    'issuers.tenant.profile': 'rfc8693',
    'routes[0].exchange.renew': 'refresh-token',
  }
  assert.deepEqual(faults(shared, renewing), [])
  assert.deepEqual(faults({}, renewing), [])
})

const { url: _, ...SHARED } = REDIS
const NODES = ['redis://one.example:7000', 'redis://two.example']
const SENTINEL = { name: 'mymaster', nodes: ['rediss://s1.example', 'rediss://s2.example:5000'] }
const ONE = [{ host: 'one.example', port: 7000 }]

const redisOf = (redis: object): RedisConfig | undefined =>
  readConfig(changed({ 'cache.redis': { ...SHARED, ...redis } }), { environment: {} }).cache.redis

test('a URL tells server, user, password and database', () => {
  const url = 'rediss://be%40half:pass%20word@[::1]:6380/3'
  const { servers, user, password, database, tls } = redisOf({ url })!
  assert.deepEqual(servers, { kind: 'single', address: { host: '::1', port: 6380 } })
  assert.deepEqual([user, password, database], ['be@half', 'pass word', 3])
  assert.deepEqual(tls, { authorities: undefined, identity: undefined, serverName: undefined })
})

test('a socket has its user, password and database beside it', () => {
  const credentials = { user: 'behalf', password: 'a password', database: 2 }
  const redis = redisOf({ url: 'unix:/run/redis.sock', ...credentials })!
  assert.deepEqual(redis.servers, { kind: 'single', address: { path: '/run/redis.sock' } })
  assert.deepEqual([redis.user, redis.password, redis.database], Object.values(credentials))
  assert.equal(redis.tls, undefined)
})

test('a Cluster is known by some nodes, and has one user for all of them', () => {
  const redis = redisOf({ cluster: NODES, user: 'behalf', password: 'a password' })!
  assert.deepEqual(redis.servers, {
    kind: 'cluster',
    nodes: [...ONE, { host: 'two.example', port: 6379 }],
  })
  assert.deepEqual([redis.user, redis.password], ['behalf', 'a password'])
})

test('Sentinels have a port and a password of their own', () => {
  const sentinel = { ...SENTINEL, password: 'of the Sentinels' }
  const redis = redisOf({ sentinel, password: 'of the master', database: 1 })!
  assert.deepEqual(redis.servers, {
    ...{ kind: 'sentinel', name: 'mymaster', user: undefined, password: 'of the Sentinels' },
    nodes: [
      { host: 's1.example', port: 26379 },
      { host: 's2.example', port: 5000 },
    ],
  })
  assert.deepEqual([redis.password, redis.database], ['of the master', 1])
  assert.notEqual(redis.tls, undefined)
})

const TLS_URL = { url: 'rediss://redis.example' }
const AT = 'cache.redis'
const MISFITS: readonly (readonly [string, object, readonly string[]])[] = [
  ['nowhere', {}, [`${AT}: needs one of \`url\`, \`cluster\` and \`sentinel\``]],
  [
    'in two places',
    { ...TLS_URL, cluster: ['rediss://one.example'] },
    [`${AT}.cluster: does not go with \`url\``],
  ],
  ['a Cluster of none', { cluster: [] }, [`${AT}.cluster: must hold at least one entry`]],
  ['a node twice', { cluster: [NODES[0], NODES[0]] }, [`${AT}.cluster: must not repeat a node`]],
  [
    'a node with a password',
    { cluster: ['redis://user:secret@one.example'] },
    [`${AT}.cluster[0]: must not hold credentials: \`user\` and \`password\` are for all of them`],
  ],
  [
    'a node with a database',
    { cluster: ['redis://one.example/1'] },
    [`${AT}.cluster[0]: must not have a path`],
  ],
  [
    'a node half with TLS',
    { cluster: [...NODES, 'rediss://three.example'] },
    [`${AT}.cluster: must be all \`redis:\` or all \`rediss:\``],
  ],
  [
    'a Cluster with a database',
    { cluster: NODES, database: 1 },
    [`${AT}.database: is of no use: a Cluster has only 0`],
  ],
  [
    'a URL with a database beside it',
    { ...TLS_URL, database: 1 },
    [`${AT}.database: is the path of \`url\``],
  ],
  [
    'two passwords',
    { url: 'redis://:one@redis.example', password: 'two' },
    [`${AT}.password: stands in \`url\` already`],
  ],
  [
    'a user without a password',
    { cluster: NODES, user: 'behalf' },
    [`${AT}.user: needs a \`password\` beside it`],
  ],
  [
    'a user of Sentinels without a password',
    { sentinel: { ...SENTINEL, user: 'behalf' } },
    [`${AT}.sentinel.user: needs a \`password\` beside it`],
  ],
  [
    'authorities in the clear',
    { url: 'redis://redis.example', tls: { serverName: 'redis' } },
    [`${AT}.tls: is of no use without \`rediss:\``],
  ],
  [
    'authorities that are none',
    { ...TLS_URL, tls: { authorities: '-----BEGIN nothing' } },
    [`${AT}.tls.authorities: must be certificates in PEM, or a file that holds them`],
  ],
  [
    'a key without a certificate',
    { ...TLS_URL, tls: { key: '-----BEGIN nothing' } },
    [`${AT}.tls.key: is of no use without \`certificate\``],
  ],
]
for (const [what, redis, expected] of MISFITS) {
  test(`Redis ${what} is refused`, () => {
    assert.deepEqual(told(faultsOf(changed({ 'cache.redis': { ...SHARED, ...redis } }))), expected)
  })
}
