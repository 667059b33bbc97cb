import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { test } from 'node:test'
import request from 'supertest'
import { createMetrics } from '../../src/metrics.ts'
import { createAdmin, type AdminOptions } from '../../src/server/admin.ts'
import { createServer } from '../../src/server/listener.ts'

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
  return createAdmin({ admin: () => asked({}), ...options, ...given })
}

type Asked = ReturnType<AdminOptions['admin']>

function asked(given: Partial<Asked>): Asked {
  const listen = { host: '127.0.0.1', port: 8081 }
  return { listen, token: undefined, allowedHosts: [], ...given }
}

const withToken = { admin: () => asked({ token: 'a-token' }) }

for (const path of ['/livez', '/readyz', '/metrics']) {
  test(`${path} is open to whoever reaches the listener`, async () => {
    assert.equal((await request(admin(withToken)).get(path)).status, 200)
  })
}

const listing = { admin: () => asked({ token: 'a-token', allowedHosts: ['gateway.internal'] }) }

for (const path of ['/metrics', '/readyz?verbose', '/readyz?a&verbose=1', '/other']) {
  test(`${path} says nothing to a page that lets its own name lead here`, async () => {
    const by = async (host: string): Promise<request.Response> =>
      request(admin({ ...listing, ailments: () => ['the keys are not known'] }))
        .get(path)
        .set('host', host)
        .auth('a-token', { type: 'bearer' })
    for (const host of ['gateway.internal:8081', '127.0.0.1:8081', 'localhost']) {
      assert.notEqual((await by(host)).status, 403)
    }
    const refused = await by('rebound.example')
    assert.equal(refused.status, 403)
    assert.equal(refused.type, 'application/problem+json')
    assert.equal((JSON.parse(refused.text) as { code: string }).code, 'not_permitted')
    assert.doesNotMatch(refused.text, /behalf_|not known|rebound|gateway\.internal/)
  })
}

for (const path of ['/purge', '/explain', '/reload']) {
  test(`${path} does nothing for whoever asks by another name, whatever the token`, async () => {
    const done: unknown[] = []
    const app = admin({
      ...listing,
      purge: (what) => done.push(what),
      explain: async (question) => Promise.reject(new Error(String(done.push(question)))),
      reload: async () => ({ outcome: 'failed', reason: String(done.push('reload')) }),
    })
    const post = async (host: string): Promise<request.Response> =>
      request(app)
        .post(path)
        .set('host', host)
        .auth('a-token', { type: 'bearer' })
        .send({ subject: 'a' })
    assert.equal((await post('rebound.example')).status, 403)
    assert.deepEqual(done, [])
    // By this one it is looked at.
    assert.notEqual((await post('gateway.internal')).status, 403)
  })
}

test('a probe is told one word, by whatever name it asks', async () => {
  const by = async (path: string, ready: true | string): Promise<unknown> => {
    const { status, text } = await request(admin({ ready: () => ready }))
      .get(path)
      .set('host', 'balancer.example')
    return [status, text]
  }
  assert.deepEqual(await by('/livez', true), [200, 'ok\n'])
  assert.deepEqual(await by('/readyz', true), [200, 'ok\n'])
  assert.deepEqual(await by('/readyz', 'draining'), [503, 'not ready\n'])
})

test('who speaks HTTP/1.0 and names no host, as balancers do, is answered', async (t) => {
  const server = createServer(admin()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const statusOf = async (head: string): Promise<string> => {
    const socket = net.connect(port, '127.0.0.1').setEncoding('latin1')
    socket.end(`GET ${head}\r\n\r\n`)
    let answer = ''
    for await (const piece of socket) answer += piece as string
    return answer.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length)
  }
  assert.equal(await statusOf('/metrics HTTP/1.0'), '200')
  assert.equal(await statusOf('/metrics HTTP/1.0\r\nHost: rebound.example'), '403')
  assert.equal(await statusOf('/metrics HTTP/1.1'), '400')
  const absolute = 'http://rebound.example/metrics HTTP/1.1\r\nConnection: close\r\nHost: localhost'
  assert.equal(await statusOf(absolute), '403')
  assert.equal(await statusOf(absolute.replace('rebound.example', 'localhost')), '200')
})

test('the hosts are those of the moment', async () => {
  let allowedHosts: readonly string[] = []
  const app = admin({ admin: () => asked({ allowedHosts }) })
  const statusOf = async (): Promise<number> =>
    (await request(app).get('/metrics').set('host', 'gateway.internal')).status
  assert.equal(await statusOf(), 403)
  allowedHosts = ['gateway.internal']
  assert.equal(await statusOf(), 200)
})

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
  const app = admin({ admin: () => asked({ token }) })
  const statusOf = async (presented: string): Promise<number> =>
    (await request(app).get('/other').auth(presented, { type: 'bearer' })).status
  assert.deepEqual([await statusOf('a-token'), await statusOf('b-token')], [404, 401])
  token = 'b-token'
  assert.deepEqual([await statusOf('a-token'), await statusOf('b-token')], [401, 404])
})
