import assert from 'node:assert/strict'
import { test } from 'node:test'
import request from 'supertest'
import { createMetrics } from '../../src/metrics.ts'
import { createAdmin, type AdminOptions } from '../../src/server/admin.ts'

function admin(given: Partial<AdminOptions> = {}): ReturnType<typeof createAdmin> {
  const purge = (): void => undefined
  const explain: AdminOptions['explain'] = async () => Promise.reject(new Error('nobody asks'))
  const reload: AdminOptions['reload'] = async () => Promise.reject(new Error('nobody asks'))
  const options = {
    metrics: createMetrics(),
    ready: (): true => true,
    ailments: () => [],
    purge,
    ...{ explain, reload },
  }
  return createAdmin({ token: () => undefined, ...options, ...given })
}

const withToken = { token: () => 'a-token' }

for (const path of ['/livez', '/readyz', '/metrics']) {
  test(`${path} is open to whoever reaches the listener`, async () => {
    assert.equal((await request(admin(withToken)).get(path)).status, 200)
  })
}

test('everything else asks for the token, where there is one', async () => {
  const app = admin(withToken)
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
  const draining = await request(admin({ ready: () => 'draining' })).get('/readyz?verbose')
  assert.equal(draining.status, 503)
  assert.match(draining.text, /^\[-\] draining$/m)
  assert.match(draining.text, /not ready\n$/)
})

test('a purge reaches the cache as it was asked for, with the token', async () => {
  const purged: object[] = []
  const app = admin({ ...withToken, purge: (what) => void purged.push(what) })
  const what = { issuer: 'https://issuer.example/', subject: 'user|alice' }
  const without = await request(app).post('/purge').send(what)
  assert.equal(without.status, 401)
  assert.deepEqual(purged, [])
  const asked = await request(app).post('/purge').auth('a-token', { type: 'bearer' }).send(what)
  assert.equal(asked.status, 204)
  assert.deepEqual(purged, [what])
})

for (const body of [
  '{}',
  '[]',
  'null',
  '{"subject":7}',
  '{"subject":""}',
  '{"user":"a"}',
  'not JSON',
]) {
  test(`a purge of ${body} is refused, and purges nothing`, async () => {
    const purged: object[] = []
    const app = admin({ ...withToken, purge: (what) => void purged.push(what) })
    const post = request(app).post('/purge').auth('a-token', { type: 'bearer' })
    const response = await post.set('content-type', 'application/json').send(body)
    assert.equal(response.status, 400)
    assert.equal((JSON.parse(response.text) as { code: string }).code, 'invalid_request')
    assert.deepEqual(purged, [])
  })
}

test('without a token nobody can purge', async () => {
  assert.equal((await request(admin()).post('/purge').send({ subject: 'a' })).status, 404)
})

const CHANGES = { added: ['routes.new'], changed: [], removed: [] }

for (const [outcome, status] of [
  [{ outcome: 'reloaded', changes: CHANGES, needsRestart: ['server.listen'] }, 200],
  [{ outcome: 'unchanged', changes: CHANGES, needsRestart: [] }, 200],
  [{ outcome: 'refused', faults: [{ path: 'routes', message: 'is required' }] }, 422],
  [{ outcome: 'failed', reason: 'there is nothing to read' }, 500],
] as const) {
  test(`a reload that is ${outcome.outcome} is answered ${status}, with all that is known of it`, async () => {
    const app = admin({ ...withToken, reload: async () => outcome })
    const post = await request(app).post('/reload').auth('a-token', { type: 'bearer' })
    assert.equal(post.status, status)
    assert.deepEqual(post.body, outcome)
  })
}

test('nobody reloads without the token, or where there is none', async () => {
  let reloads = 0
  const reload: AdminOptions['reload'] = async () => {
    reloads++
    return { outcome: 'failed', reason: '' }
  }
  assert.equal((await request(admin({ ...withToken, reload })).post('/reload')).status, 401)
  assert.equal((await request(admin({ reload })).post('/reload')).status, 404)
  assert.equal(reloads, 0)
})

test('the token is the one of the moment', async () => {
  let token: string | undefined = 'a-token'
  const app = admin({ token: () => token })
  const statusOf = async (presented: string): Promise<number> =>
    (await request(app).get('/other').auth(presented, { type: 'bearer' })).status
  assert.deepEqual([await statusOf('a-token'), await statusOf('b-token')], [404, 401])
  token = 'b-token'
  assert.deepEqual([await statusOf('a-token'), await statusOf('b-token')], [401, 404])
})
