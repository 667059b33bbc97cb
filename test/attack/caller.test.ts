/** A hostile caller: one way in, one request for one request, and nobody else's token. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import {
  assertTokensContained,
  claimsOf,
  oneRoute,
  startGateway,
  startUpstream,
  type Gateway,
  type Upstream,
} from '../system.ts'
import { ask, dial, request, startRawUpstream } from './wire.ts'

interface World {
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  readonly gateway: Gateway
  readonly token: string
}

async function world(t: TestContext): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  return { issuer, upstream, gateway, token: await issuer.token() }
}

const spellings: readonly (readonly [
  what: string,
  lines: (token: string) => readonly string[],
  status: number,
])[] = [
  ['once', (token) => [`Authorization: Bearer ${token}`], 200],
  ['with the scheme in another case', (token) => [`aUTHORIZATION: bEARER ${token}`], 200],
  [
    'named by Connection',
    (token) => [`Authorization: Bearer ${token}`, 'Connection: authorization'],
    200,
  ],
  [
    'beside its aliases',
    (token) => [`Authorization: Bearer ${token}`, 'Authorization_: x', 'authorization.: y'],
    200,
  ],
  ['twice', (token) => [`Authorization: Bearer ${token}`, `Authorization: Bearer ${token}`], 400],
  [
    'twice, in two cases',
    (token) => [`Authorization: Bearer ${token}`, 'AUTHORIZATION: Bearer x'],
    400,
  ],
  ['in a list', (token) => [`Authorization: Bearer ${token}, Bearer ${token}`], 400],
  ['behind two spaces', (token) => [`Authorization: Bearer  ${token}`], 400],
  ['behind a tab', (token) => [`Authorization: Bearer\t${token}`], 401],
  ['behind a space and a tab', (token) => [`Authorization: Bearer \t${token}`], 401],
  ['with padding', (token) => [`Authorization: Bearer ${token}=`], 401],
  ['in quotes', (token) => [`Authorization: Bearer "${token}"`], 401],
  ['on a folded line', (token) => ['Authorization: Bearer', ` ${token}`], 400],
  ['with a space before the colon', (token) => [`Authorization : Bearer ${token}`], 400],
  ['in an alias alone', (token) => [`X-Authorization: Bearer ${token}`], 401],
]
for (const [what, lines, status] of spellings) {
  test(`a token ${what} is ${status}`, async (t) => {
    const { gateway, upstream, token } = await world(t)
    const answer = await ask(t, gateway.origin, request('GET /orders', lines(token)))
    assert.equal(answer.status, status)
    assert.equal(upstream.received.length, status === 200 ? 1 : 0)
    assertTokensContained(gateway, upstream, token)
  })
}

for (const [query, status] of [
  ['?x_access_token=1', 200],
  ['?access_token=1', 400],
  ['?access%5Ftoken=1', 400],
  ['?a=1;ACCESS_token', 400],
  ['?%61ccess_token', 400],
] as const) {
  test(`a second token as ${query} is ${status}`, async (t) => {
    const { gateway, token } = await world(t)
    const bytes = request(`GET /orders${query}`, [`Authorization: Bearer ${token}`])
    assert.equal((await ask(t, gateway.origin, bytes)).status, status)
  })
}

test('a token in the trailers is none, and what stands there does not go on', async (t) => {
  const { gateway, upstream, token } = await world(t)
  const authorization = `Authorization: Bearer ${token}`
  const chunked = ['Transfer-Encoding: chunked', 'Trailer: Authorization']
  const trailing = (trailer: string): string => `2\r\nhi\r\n0\r\n${trailer}\r\n\r\n`
  const only = request('POST /orders', chunked, trailing(authorization))
  assert.equal((await ask(t, gateway.origin, only)).code, 'missing_token')
  assert.equal(upstream.received.length, 0)

  const both = request(
    'POST /orders',
    [authorization, ...chunked],
    trailing('X-Forwarded-For: 6.6.6.6'),
  )
  assert.equal((await ask(t, gateway.origin, both)).status, 200)
  assert.equal(upstream.received[0]?.body, 'hi')
  assert.equal(JSON.stringify(upstream.received).includes('6.6.6.6'), false)
})

// Node, here and as an upstream, leaves out what stands beyond a thousand lines.
for (const [lines, status] of [
  [90, 200],
  [150, 431],
  [1_100, 431],
  [2_500, 431],
] as const) {
  test(`${lines} header lines before its length: ${status}, and no body is lost`, async (t) => {
    const { gateway, upstream, token } = await world(t)
    const flood = Array<string>(lines).fill('a:')
    const headers = [`Authorization: Bearer ${token}`, ...flood, 'Content-Length: 5']
    const answer = await ask(t, gateway.origin, request('POST /orders', headers, 'hello'))
    assert.equal(answer.status, status)
    assert.equal(upstream.received.length, status === 200 ? 1 : 0)
    if (status !== 200) return
    assert.equal(upstream.received[0]?.body, 'hello')
    assert.equal(upstream.received[0]?.headers['x-forwarded-for'], '127.0.0.1')
    assert.notEqual(upstream.received[0]?.headers.authorization, undefined)
  })
}

test('headers that servers serve in place of the matched target stay here', async (t) => {
  const { gateway, upstream, token } = await world(t)
  const others = ['X-Original-URL: /admin', 'x_rewrite_url: /admin', 'X-Original-Length: 5']
  const headers = [`Authorization: Bearer ${token}`, ...others]
  assert.equal((await ask(t, gateway.origin, request('GET /orders', headers))).status, 200)
  assert.equal(JSON.stringify(upstream.received).includes('/admin'), false)
  assert.equal(upstream.received[0]?.headers['x-original-length'], '5')
})

const hosts = [
  ['gateway', 200],
  ['[::1]:8080', 200],
  ['', 400],
  ['gateway@evil', 400],
  ['gateway/evil', 400],
  ['gateway,evil', 400],
  ['gateway?evil', 400],
  ['gateway\r\nHost: evil', 400],
] as const
for (const [host, status] of hosts) {
  test(`a Host of ${JSON.stringify(host)} is ${status}`, async (t) => {
    const { gateway, upstream, token } = await world(t)
    const bytes = `GET /orders HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n\r\n`
    assert.equal((await ask(t, gateway.origin, bytes)).status, status)
    assert.equal(upstream.received.length, status === 200 ? 1 : 0)
  })
}

test('a Host that was good on a connection does not vouch for the next one on it', async (t) => {
  const { gateway, upstream, token } = await world(t)
  const line = await dial(t, gateway.origin)
  const get = (host: string): string =>
    `GET /orders HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n\r\n`
  line.send(get('good.example') + get('good.example') + get('bad@example') + get('other.example'))
  const statuses = []
  for (let count = 0; count < 4; count++) statuses.push((await line.next())?.status)
  assert.deepEqual(statuses, [200, 200, 400, 200])
  assert.deepEqual(
    upstream.received.map(({ headers }) => String(headers['x-forwarded-host'])).toSorted(),
    ['good.example', 'good.example', 'other.example'],
  )
})

/** A weak route that holds a strong one, both on one upstream. */
async function guarded(t: TestContext): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const configuration = oneRoute({ issuer: issuer.url, upstream: upstream.origin }) as {
    routes: readonly object[]
  }
  const [weak] = configuration.routes
  const strong = {
    ...weak,
    name: 'admin',
    match: { path: '/orders/admin' },
    authorize: { scopes: ['admin:orders'] },
  }
  const gateway = await startGateway(t, { ...configuration, routes: [weak, strong] })
  return { issuer, upstream, gateway, token: await issuer.token() }
}

const targets: readonly (readonly [target: string, status: number])[] = [
  ['/orders/1', 200],
  ['/orders/administrator', 200],
  ['/orders/admin', 403],
  ['/orders/admin/', 403],
  ['/orders/admin?x', 403],
  ['/orders/admin/1', 403],
  ['http://gateway/orders/admin', 403],
  ['http://gateway/orders/1', 200],
  ['http://other/orders/1', 400],
  ['http://user@gateway/orders/1', 400],
  ['//orders/admin', 400],
  ['/orders//admin', 400],
  ['/orders/./admin', 400],
  ['/orders/x/../admin', 400],
  ['/orders/x/..;/admin', 400],
  ['/orders/x/%2e%2e/admin', 400],
  ['/orders/x/.%2E/admin', 400],
  ['/orders/x/%252e%252e/admin', 400],
  ['/orders/x%2f..%2fadmin', 400],
  ['/orders/x\\..\\admin', 400],
  ['/orders/x%5c..%5cadmin', 400],
  ['/orders/%61dmin', 400],
  ['/orders/%2561dmin', 400],
  ['/orders/admin;x', 400],
  ['/orders;x/admin', 400],
  ['/orders/1;x', 400],
  ['/orders/admin%00', 400],
  ['/orders/admin#', 400],
  ['/orders/%c1%a1dmin', 400],
  ['/orders/%zz', 400],
  ['*', 400],
]
for (const [target, status] of targets) {
  test(`who may see orders asks for ${target}: ${status}`, async (t) => {
    const { gateway, upstream, token, issuer } = await guarded(t)
    const authorization = `Authorization: Bearer ${token}`
    const answer = await ask(t, gateway.origin, request(`GET ${target}`, [authorization]))
    assert.equal(answer.status, status)
    assert.equal(upstream.received.length, status === 200 ? 1 : 0)

    if (status !== 403) return
    const admin = await issuer.token({ scope: 'read:orders admin:orders' })
    const permitted = request(`GET ${target}`, [`Authorization: Bearer ${admin}`])
    assert.equal((await ask(t, gateway.origin, permitted)).status, 200)
  })
}

test('requests of two users in turn on one connection are answered in turn, each with its own token', async (t) => {
  const { gateway, upstream, issuer } = await world(t)
  const users = ['user|alice', 'user|mallory']
  const tokens = await Promise.all(users.map((sub) => issuer.token({ sub })))
  const line = await dial(t, gateway.origin)
  const expected: (string | undefined)[] = []
  let bytes = ''
  for (let count = 0; count < 60; count++) {
    const kind = count % 3
    expected.push(users[kind])
    // Every third brings none: what the two before it brought must not serve it.
    const headers = kind < 2 ? [`Authorization: Bearer ${tokens[kind]}`] : []
    bytes += request(`GET /orders/${count}`, headers)
  }
  line.send(bytes)
  for (const [index, user] of expected.entries()) {
    const answer = await line.next()
    assert.equal(answer?.status, user === undefined ? 401 : 200, `answer ${index}`)
    if (user !== undefined) assert.equal(JSON.parse(answer?.body ?? '').sub, user)
  }
  assert.equal(issuer.exchanges.length, 2)
  for (const { url, headers } of upstream.received) {
    const index = Number(url.split('/').at(-1))
    assert.equal(claimsOf(headers.authorization)['sub'], expected[index])
  }
  for (const token of tokens) assertTokensContained(gateway, upstream, token)
})

test('a refused request with a body does not lend its body to the one behind it', async (t) => {
  const { gateway, upstream, token } = await world(t)
  const inner = request('GET /orders/inner', [`Authorization: Bearer ${token}`])
  const refused = request('POST /orders', [`Content-Length: ${inner.length}`], inner)
  const line = await dial(t, gateway.origin)
  line.send(refused + request('GET /orders/behind', [`Authorization: Bearer ${token}`]))
  assert.equal((await line.next())?.status, 401)
  await line.next()
  assert.equal(JSON.stringify(upstream.received).includes('inner'), false)
})

const phases = ['exchange', 'answer', 'upload'] as const
for (const phase of phases) {
  test(`200 callers that vanish within the ${phase} leave nothing behind`, async (t) => {
    const warnings: Error[] = []
    const heard = (warning: Error): void => void warnings.push(warning)
    process.on('warning', heard)
    t.after(() => process.off('warning', heard))
    const issuer = await startIssuer(t)
    const upstream = await startRawUpstream(t)
    const silent = upstream.answer
    upstream.answer = () => undefined
    const gateway = await startGateway(
      t,
      oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    )
    const token = await issuer.token()
    const authorization = `Authorization: Bearer ${token}`
    const held: (() => void)[] = []
    if (phase === 'exchange') {
      issuer.answer = async (form, response) => {
        await new Promise<void>((resolve) => held.push(resolve))
        await issuer.issue(form, response)
      }
    }
    const sent =
      phase === 'upload'
        ? request('POST /orders', [authorization, 'Content-Length: 100000'], 'part')
        : request('GET /orders', [authorization]).repeat(5)
    const each = phase === 'upload' ? 1 : 5

    for (let batch = 0; batch < 4; batch++) {
      const lines = await Promise.all(Array.from({ length: 50 }, () => dial(t, gateway.origin)))
      for (const line of lines) line.send(sent)
      await new Promise((resolve) => setTimeout(resolve, 20))
      for (const [index, { socket }] of lines.entries()) {
        if (index % 2 === 0) socket.destroy()
        else socket.resetAndDestroy()
      }
    }
    held.forEach((release) => release())
    issuer.answer = issuer.issue
    await until(
      () => gone(gateway) === 200 * each,
      () => `${gone(gateway)} recorded as gone`,
    )
    await until(
      () => upstream.open.size === 0,
      () => `${upstream.open.size} connections left`,
    )

    upstream.answer = silent
    assert.equal(
      (await ask(t, gateway.origin, request('GET /orders', [authorization]))).status,
      200,
    )
    assert.ok(issuer.exchanges.length <= 2, `${issuer.exchanges.length} exchanges`)
    assert.deepEqual(warnings, [])
    assert.equal(gateway.logged().includes('internal_error'), false)
  })
}

function gone(gateway: Gateway): number {
  return gateway.logged().match(/"result":"caller_gone"/g)?.length ?? 0
}

/** What others have to finish first; undici keeps an idle connection for four seconds. */
async function until(holds: () => boolean, otherwise: () => string): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!holds()) {
    if (performance.now() > deadline) assert.fail(otherwise())
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

test('nothing that is told holds a secret: log, metrics and refusals after every kind of failure', async (t) => {
  const { gateway, upstream, issuer, token } = await world(t)
  const authorization = `Authorization: Bearer ${token}`
  const forged = `${token.slice(0, -8)}AAAAAAAA`
  const others = await Promise.all([
    issuer.token({ exp: 1 }),
    issuer.token({ aud: 'https://other.example' }),
    issuer.token({ scope: 'none' }),
  ])
  const secrets = [token, forged, ...others].map((one) => one.split('.')[2]!)
  const told: string[] = []
  const tell = async (start: string, lines: readonly string[]): Promise<void> => {
    const { head, body } = await ask(t, gateway.origin, request(start, lines))
    told.push(head, body)
  }
  await tell('GET /orders', [authorization])
  secrets.push(...upstream.received.map(({ headers }) => headers.authorization!.split('.')[2]!))
  for (const one of [forged, ...others]) await tell('GET /orders', [`Authorization: Bearer ${one}`])
  await tell(`GET /orders?access_token=${token}`, [authorization])
  await tell('GET /orders', [authorization, authorization])
  await tell('GET /orders', [
    `Authorization: Basic ${Buffer.from(`a:${token}`).toString('base64')}`,
  ])
  await tell('GET /orders', [authorization, `Cookie: session=${token}`, `Host: ${token}`])
  await tell('GET /orders', [authorization, `Expect: ${token}`])
  await tell(`GET /${token}#`, [authorization])
  await tell(`${token.slice(0, 10)} /orders`, [authorization])
  const all = `${told.join('')}${gateway.logged()}${gateway.metrics.render()}`
  for (const secret of [...secrets, 'a-secret-of-the-storefront']) {
    assert.equal(all.includes(secret), false, secret)
  }
  assert.ok(all.includes('invalid_token') && all.includes('insufficient_scope'))
})
