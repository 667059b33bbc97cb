import assert from 'node:assert/strict'
import { test } from 'node:test'
import request from 'supertest'
import { createMetrics } from '../../src/metrics.ts'
import { createAdmin, type AdminOptions } from '../../src/server/admin.ts'

function admin(given: Partial<AdminOptions> = {}): ReturnType<typeof createAdmin> {
  const options = { metrics: createMetrics(), ready: () => true, ailments: () => [] }
  return createAdmin({ token: undefined, ...options, ...given })
}

for (const path of ['/livez', '/readyz', '/metrics']) {
  test(`${path} is open to whoever reaches the listener`, async () => {
    assert.equal((await request(admin({ token: 'a-token' })).get(path)).status, 200)
  })
}

test('everything else asks for the token, where there is one', async () => {
  const app = admin({ token: 'a-token' })
  const without = await request(app).get('/other')
  assert.equal(without.status, 401)
  assert.equal(without.headers['www-authenticate'], 'Bearer')
  assert.equal((await request(app).get('/other').auth('b-token', { type: 'bearer' })).status, 401)
  assert.equal((await request(app).get('/other').auth('a-token', { type: 'bearer' })).status, 404)
  assert.equal((await request(admin()).get('/other')).status, 404)
})

test('readiness tells in words what is not well, and is not lost for it', async () => {
  const ailing = await request(admin({ ailments: () => ['the keys are not known'] })).get(
    '/readyz?verbose',
  )
  assert.equal(ailing.status, 200)
  assert.match(ailing.text, /^\[!\] the keys are not known$/m)
  const draining = await request(admin({ ready: () => false })).get('/readyz?verbose')
  assert.equal(draining.status, 503)
  assert.match(draining.text, /^\[-\] draining$/m)
})
