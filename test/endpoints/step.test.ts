import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { inspect } from 'node:util'
import express from 'express'
import request from 'supertest'
import { authenticate, createLog, createMetrics, gateway, onBehalfOf } from '../../src/index.ts'
import type { ConfigInput } from '../../src/index.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { createApp } from '../examples/embedding.ts'
import { claimsOf, listen, oneRoute, startUpstream } from '../system.ts'

interface Stepping {
  readonly issuer: TestIssuer
  readonly app: express.Express
  readonly behalf: Awaited<ReturnType<typeof gateway>>
  logged(): string
  metrics(): string
}

async function stepping(t: TestContext): Promise<Stepping> {
  const issuer = await startIssuer(t)
  const configuration = configured(issuer, 'http://127.0.0.1:9')
  let text = ''
  const metrics = createMetrics()
  const log = createLog({ destination: { write: (line) => (text += line) } })
  const behalf = await gateway(configuration, { log, metrics })
  t.after(() => behalf.close())
  return { issuer, app: express(), behalf, logged: () => text, metrics: () => metrics.render() }
}

function configured(issuer: TestIssuer, upstream: string): ConfigInput {
  const configuration = oneRoute({ issuer: issuer.url, upstream })
  const { routes } = configuration as { routes: Record<string, unknown>[] }
  const audience = 'https://inventory.internal'
  routes.push(
    { ...routes[0], name: 'inventory', match: { path: '/inventory' }, exchange: { audience } },
    { ...routes[0], name: 'public', match: { path: '/public' }, exchange: { grant: 'none' } },
  )
  return configuration as ConfigInput
}

/** For a line in the log. */
const WAITS = { timeout: 60_000 }

const codeOf = (response: request.Response): unknown => (response.body as { code?: string }).code

test('authenticate says whose request it is, and exchanges nothing', async (t) => {
  const { issuer, app, behalf } = await stepping(t)
  app.get('/me', authenticate(behalf, 'orders'), ({ behalf: found }, response) => {
    const { subject, issuer: from, api, claims, scopes } = found!
    response.json({ subject, from, api, claims, scopes: [...scopes] })
  })
  const token = await issuer.token({ sub: 'auth0|alice' })
  const { status, body } = await request(app).get('/me').auth(token, { type: 'bearer' })
  assert.equal(status, 200)
  assert.deepEqual(body, {
    ...{ subject: 'auth0|alice', from: issuer.url, api: 'storefront' },
    claims: claimsOf(token),
    scopes: (claimsOf(token)['scope'] as string).split(' '),
  })
  assert.equal(issuer.exchanges.length, 0)
})

test('what authenticate refuses does not reach the handler', async (t) => {
  const { issuer, app, behalf } = await stepping(t)
  let handled = 0
  app.get('/me', authenticate(behalf, 'orders'), (_request, response) => {
    handled++
    response.end()
  })
  const none = await request(app).get('/me')
  assert.deepEqual([none.status, codeOf(none)], [401, 'missing_token'])
  assert.match(none.headers['www-authenticate']!, /^Bearer/)
  const foreign = await issuer.token({ aud: 'https://another.example' })
  const wrong = await request(app).get('/me').auth(foreign, { type: 'bearer' })
  assert.deepEqual([wrong.status, codeOf(wrong)], [401, 'invalid_token'])
  const scopeless = await issuer.token({ scope: 'read:nothing' })
  const poor = await request(app).get('/me').auth(scopeless, { type: 'bearer' })
  assert.deepEqual([poor.status, codeOf(poor)], [403, 'insufficient_scope'])
  assert.equal(handled, 0)
  const good = await request(app)
    .get('/me')
    .auth(await issuer.token(), { type: 'bearer' })
  assert.deepEqual([good.status, handled], [200, 1])
})

test('onBehalfOf gives the handler a token for the service, from the gateway’s own cache', async (t) => {
  const { issuer, app, behalf } = await stepping(t)
  app.get('/latest', onBehalfOf(behalf, 'orders'), ({ behalf: found }, response) => {
    response.json(found!.token.headersFor('GET', 'http://orders.internal/'))
  })
  const token = await issuer.token({ sub: 'auth0|alice' })
  const first = await request(app).get('/latest').auth(token, { type: 'bearer' })
  const again = await request(app).get('/latest').auth(token, { type: 'bearer' })
  const { authorization, ...others } = first.body as { authorization: string }
  assert.deepEqual(others, {})
  const { aud, sub } = claimsOf(authorization)
  assert.deepEqual([aud, sub], ['https://orders.internal', 'auth0|alice'])
  assert.deepEqual(again.body, first.body)
  assert.equal(issuer.exchanges.length, 1)
})

test('two users get two tokens', async (t) => {
  const { issuer, app, behalf } = await stepping(t)
  app.get('/latest', onBehalfOf(behalf, 'orders'), ({ behalf: found }, response) => {
    response.json(claimsOf(found!.token.value)['sub'])
  })
  for (const sub of ['auth0|alice', 'auth0|bob', 'auth0|alice']) {
    const token = await issuer.token({ sub })
    const { body } = await request(app).get('/latest').auth(token, { type: 'bearer' })
    assert.equal(body, sub)
  }
})

test('several steps give several tokens, by the names of their routes', async (t) => {
  const { issuer, app, behalf } = await stepping(t)
  const both = [onBehalfOf(behalf, 'orders'), onBehalfOf(behalf, 'inventory')]
  app.get('/overview', ...both, ({ behalf: found }, response) => {
    assert.throws(() => found!.token, /several/)
    const told = [...found!.tokens].map(([name, { value }]) => [name, claimsOf(value)['aud']])
    response.json(told)
  })
  const token = await issuer.token()
  const { body } = await request(app).get('/overview').auth(token, { type: 'bearer' })
  assert.deepEqual(body, [
    ['orders', 'https://orders.internal'],
    ['inventory', 'https://inventory.internal'],
  ])
})

test('a refused exchange is answered as the gateway answers it', async (t) => {
  const { issuer, app, behalf } = await stepping(t)
  app.get('/latest', onBehalfOf(behalf, 'orders'), (_request, response) => void response.end())
  issuer.answer = (_form, response) => {
    response.writeHead(403, { 'content-type': 'application/json' })
    response.end('{"error":"access_denied"}')
  }
  const token = await issuer.token()
  const response = await request(app).get('/latest').auth(token, { type: 'bearer' })
  assert.deepEqual([response.status, codeOf(response)], [403, 'exchange_denied'])
})

test('what a handler does to it changes nothing for the next request', async (t) => {
  const { issuer, app, behalf } = await stepping(t)
  app.get('/latest', onBehalfOf(behalf, 'orders'), ({ behalf: found }, response) => {
    const { claims, scopes, token } = found!
    response.json([claims['sub'], claims['nested'], [...scopes], token.scopes])
    Object.assign(claims, { sub: 'auth0|mallory' })
    Object.assign(claims['nested'] as object, { role: 'admin' })
    ;(scopes as Set<string>).add('write:everything')
    ;(token.scopes as string[]).push('write:everything')
  })
  const token = await issuer.token({ sub: 'auth0|alice', nested: { role: 'user' } })
  const first = await request(app).get('/latest').auth(token, { type: 'bearer' })
  const again = await request(app).get('/latest').auth(token, { type: 'bearer' })
  assert.deepEqual(again.body, first.body)
})

test('printed or serialized, it shows no token', async (t) => {
  const { issuer, app, behalf } = await stepping(t)
  let shown = ''
  app.get('/latest', onBehalfOf(behalf, 'orders'), ({ behalf: found }, response) => {
    const { value } = found!.token
    shown = inspect(found, { depth: 9, showHidden: true }) + JSON.stringify(found)
    shown += inspect([...found!.tokens.values()], { depth: 9 }) + JSON.stringify(found!.token)
    response.json({ value })
  })
  const token = await issuer.token()
  const { body } = await request(app).get('/latest').auth(token, { type: 'bearer' })
  const signature = (of: string): string => of.split('.')[2]!
  assert.match(shown, /read:orders/)
  assert.ok(!shown.includes(signature(token)))
  assert.ok(!shown.includes(signature((body as { value: string }).value)))
})

test(
  'a step counts as a request of its route, and its line tells how it ended',
  WAITS,
  async (t) => {
    const { issuer, app, behalf, logged, metrics } = await stepping(t)
    app.get('/latest', onBehalfOf(behalf, 'orders'), (_request, response) => {
      response.status(207).end()
    })
    const token = await issuer.token()
    await request(app).get('/latest?secret=1').auth(token, { type: 'bearer' }).expect(207)
    assert.match(metrics(), /behalf_requests_total\{route="orders",status="207"\} 1/)
    while (!logged().includes('"status":207')) await new Promise(setImmediate)
    assert.match(logged(), /"route":"orders"/)
    assert.doesNotMatch(logged(), /secret/)
  },
)

test('a caller that leaves before the answer is told apart', WAITS, async (t) => {
  const { issuer, app, behalf, logged } = await stepping(t)
  let arrived: () => void
  const arrival = new Promise<void>((resolve) => (arrived = resolve))
  app.get('/latest', authenticate(behalf, 'orders'), () => arrived())
  const server = http.createServer(app).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const authorization = `Bearer ${await issuer.token()}`
  const asked = http.get({ port, host: '127.0.0.1', path: '/latest', headers: { authorization } })
  asked.on('error', () => undefined)
  await arrival
  asked.destroy()
  while (!logged().includes('"status":499')) await new Promise(setImmediate)
})

test('a caller that leaves while its token is authenticated is not handled', WAITS, async (t) => {
  const issuer = await startIssuer(t)
  const held: (() => void)[] = []
  const keys = await listen(
    t,
    http.createServer((_request, response) => {
      held.push(() => {
        void fetch(`${issuer.url}jwks`).then(async (set) => response.end(await set.text()))
      })
    }),
  )
  let text = ''
  const log = createLog({ destination: { write: (line) => (text += line) } })
  const configuration = {
    ...configured(issuer, 'http://127.0.0.1:9'),
    issuers: { tenant: { issuer: issuer.url, profile: 'rfc8693', jwksUri: `${keys}/` } },
  }
  const behalf = await gateway(configuration as ConfigInput, { log })
  t.after(() => behalf.close())
  let handled = 0
  const responses = new EventEmitter()
  const app = express()
  app.use((_request, response, next) => {
    responses.emit('one', response)
    next()
  })
  app.get('/me', authenticate(behalf, 'orders'), (_request, response) => {
    handled++
    response.end()
  })
  const origin = await listen(t, http.createServer(app))
  const authorization = `Bearer ${await issuer.token()}`
  const asked = http.get(`${origin}/me`, { headers: { authorization } })
  asked.on('error', () => undefined)
  const [response] = (await once(responses, 'one')) as [http.ServerResponse]
  const closed = once(response, 'close')
  asked.destroy()
  await closed
  while (held.length === 0) await new Promise(setImmediate)
  for (const release of held) release()
  while (!text.includes('"status":499')) await new Promise(setImmediate)
  assert.equal(handled, 0)
  const twin = await fetch(`${origin}/me`, { headers: { authorization } })
  assert.deepEqual([twin.status, handled], [200, 1])
})

test('a target that servers read differently is refused before the handler', async (t) => {
  const { issuer, app, behalf } = await stepping(t)
  app.use(authenticate(behalf, 'orders'), (_request, response) => void response.end())
  const token = await issuer.token()
  const odd = await request(app).get('/a/%2e%2e/b').auth(token, { type: 'bearer' })
  assert.deepEqual([odd.status, codeOf(odd)], [400, 'invalid_request_target'])
  await request(app).get('/a/b').auth(token, { type: 'bearer' }).expect(200)
})

test('a route that nobody knows, or whose token is no use to a handler, makes no step', async (t) => {
  const { behalf } = await stepping(t)
  assert.throws(() => onBehalfOf(behalf, 'another'), /no route is named another/)
  assert.throws(() => authenticate({} as typeof behalf, 'orders'), /what gateway\(\) made/)
  assert.throws(() => onBehalfOf(behalf, 'public'), /it has no token/)
  assert.ok(authenticate(behalf, 'public'))
})

test('the example of the docs runs as it stands', async (t) => {
  const example = readFileSync('test/examples/embedding.ts', 'utf8')
  const [, shown] = /^```ts\n([^]*?)^```$/m.exec(readFileSync('docs/embedding.md', 'utf8')) ?? []
  assert.equal(shown, example.replace("'../../src/index.ts'", "'behalf'"))

  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const configuration = configured(issuer, upstream.origin)
  const folder = mkdtempSync(join(tmpdir(), 'behalf-embedding-'))
  t.after(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'behalf.yaml'), JSON.stringify(configuration))
  process.env['ORDERS_ORIGIN'] = upstream.origin
  const { app, close } = await createApp(join(folder, 'behalf.yaml'))
  t.after(close)
  const token = await issuer.token({ sub: 'auth0|alice' })
  const get = async (path: string): Promise<Record<string, unknown>> => {
    const { status, body } = await request(app).get(path).auth(token, { type: 'bearer' })
    assert.equal(status, 200)
    return body as Record<string, unknown>
  }
  assert.equal((await get('/me'))['user'], 'auth0|alice')
  assert.equal((await get('/latest'))['aud'], 'https://orders.internal')
  assert.deepEqual((await get('/overview'))['for'], ['orders', 'inventory'])
  assert.equal((await get('/api/orders'))['aud'], 'https://orders.internal')
  assert.equal(issuer.exchanges.length, 2)
})
