import assert from 'node:assert/strict'
import http from 'node:http'
import { test, type TestContext } from 'node:test'
import express from 'express'
import request from 'supertest'
import { ConfigError, createLog, gateway, type ConfigInput } from '../../src/index.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { claimsOf, listen, oneRoute, startUpstream, type Upstream } from '../system.ts'

interface Embedded {
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  readonly app: express.Express
  readonly middleware: Awaited<ReturnType<typeof gateway>>
}

async function embedded(t: TestContext, options: object = {}): Promise<Embedded> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const log = createLog({ level: 'silent' })
  const configuration = oneRoute({ issuer: issuer.url, upstream: upstream.origin }) as ConfigInput
  const middleware = await gateway(configuration, { log, ...options })
  t.after(() => middleware.close())
  return { issuer, upstream, app: express(), middleware }
}

test('below a mount path the rest of the target is matched and forwarded', async (t) => {
  const { issuer, upstream, app, middleware } = await embedded(t)
  app.use('/api', middleware)
  const token = await issuer.token()

  const response = await request(app).get('/api/orders/1?page=2').auth(token, { type: 'bearer' })

  assert.equal(response.status, 200)
  assert.equal(upstream.received[0]?.url, '/orders/1?page=2')
  assert.equal(
    claimsOf(upstream.received[0]?.headers.authorization)['aud'],
    'https://orders.internal',
  )
})

for (const target of ['/API/orders', '/Api/orders', '/api']) {
  test(`below /api the target ${target}, which Express would take for it, is refused`, async (t) => {
    const { issuer, upstream, app, middleware } = await embedded(t)
    app.use('/api', middleware)
    const token = await issuer.token()
    const response = await request(app).get(target).auth(token, { type: 'bearer' })
    assert.equal(response.status, 400)
    assert.equal((response.body as { code: string }).code, 'invalid_request_target')
    assert.equal(upstream.received.length, 0)
  })
}

test('a target that another middleware has rewritten is refused', async (t) => {
  const { issuer, upstream, app, middleware } = await embedded(t)
  app.use((rewritten, _response, next) => {
    if (rewritten.url === '/innocent') rewritten.url = '/orders'
    next()
  })
  app.use(middleware)
  const token = await issuer.token()
  const refused = await request(app).get('/innocent').auth(token, { type: 'bearer' })
  assert.equal(refused.status, 400)
  assert.equal(upstream.received.length, 0)
  const taken = await request(app).get('/orders').auth(token, { type: 'bearer' })
  assert.equal(taken.status, 200)
})

test('a Router’s mount path has to be told, and then holds', async (t) => {
  const { issuer, app, middleware } = await embedded(t, { mountPath: '/inner' })
  const router = express.Router()
  router.use('/inner', middleware)
  app.use(router)
  const token = await issuer.token()
  const taken = await request(app).get('/inner/orders').auth(token, { type: 'bearer' })
  assert.equal(taken.status, 200)
  const refused = await request(app).get('/INNER/orders').auth(token, { type: 'bearer' })
  assert.equal(refused.status, 400)
})

test('a pattern cannot be a mount path', async (t) => {
  const { app, middleware } = await embedded(t)
  assert.throws(() => app.use('/:tenant', middleware), /literal path/)
})

test('it serves below a bare node:http server too', async (t) => {
  const { issuer, middleware } = await embedded(t)
  const origin = await listen(t, http.createServer(middleware))
  const response = await fetch(`${origin}/orders`, {
    headers: { authorization: `Bearer ${await issuer.token()}` },
  })
  assert.equal(response.status, 200)
})

test('a configuration with faults makes no middleware', async () => {
  await assert.rejects(gateway({ issuers: {}, apis: {}, routes: [] }), ConfigError)
})
