import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { test } from 'node:test'
import { respond, startIssuer } from '../issuer.ts'
import { bearer, oneRoute, startGateway, startUpstream } from '../system.ts'

test('the admin listener tells that it lives, that it is ready, and its metrics', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  const token = await issuer.token()
  for (let request = 0; request < 3; request++) {
    await (await fetch(`${gateway.origin}/orders`, bearer(token))).text()
  }
  await (await fetch(`${gateway.origin}/orders`)).text()

  assert.equal(await (await fetch(`${gateway.adminOrigin}/livez`)).text(), 'ok\n')
  const ready = await fetch(`${gateway.adminOrigin}/readyz?verbose`)
  assert.equal(ready.status, 200)
  assert.match(await ready.text(), /ready\n$/)
  const metrics = await (await fetch(`${gateway.adminOrigin}/metrics`)).text()
  const lines = [
    'behalf_requests_total{route="orders",status="200"} 3',
    'behalf_requests_total{route="orders",status="401"} 1',
    'behalf_cache_total{level="memory",outcome="miss"} 1',
    'behalf_cache_total{level="memory",outcome="hit"} 2',
    'behalf_exchanges_total{issuer="tenant",grant="token-exchange",outcome="ok"} 1',
    'behalf_request_seconds_count{route="orders"} 4',
    'behalf_cache_entries 1',
  ]
  for (const line of lines) assert.ok(metrics.includes(line), `${line} in\n${metrics}`)
})

test('the admin paths are not on the traffic listener, nor the traffic’s on the admin one', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  assert.equal((await fetch(`${gateway.origin}/metrics`)).status, 404)
  const orders = await fetch(`${gateway.adminOrigin}/orders`, bearer(await issuer.token()))
  assert.equal(orders.status, 404)
  assert.equal(upstream.received.length, 0)
})

test('an access line tells the route, the result, the cache’s outcome and the times, and never the query', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  const token = await issuer.token()
  for (let request = 0; request < 2; request++) {
    await (await fetch(`${gateway.origin}/orders?search=confidential`, bearer(token))).text()
  }

  const lines = await accessLines(gateway.logged, 2)
  const [miss, hit] = lines
  for (const line of lines) {
    assert.equal(line['route'], 'orders')
    assert.equal(line['result'], 'ok')
    assert.equal(line['path'], '/orders')
    assert.equal(line['status'], 200)
    assert.match(String(line['token']), /^[0-9a-f]{8}$/)
    assert.equal(typeof line['upstream_ms'], 'number')
  }
  assert.equal(miss?.['cache'], 'miss')
  assert.equal(typeof miss?.['exchange_ms'], 'number')
  assert.equal(hit?.['cache'], 'hit')
  assert.equal('exchange_ms' in (hit ?? {}), false)
  assert.equal(gateway.logged().includes('confidential'), false)
})

test('the cause of a failure that many share is logged once, and each has its access line', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  const token = await issuer.token()
  issuer.answer = (_form, response) => respond(response, { error: 'access_denied' }, 403)
  const asked = Array.from({ length: 20 }, () => fetch(`${gateway.origin}/orders`, bearer(token)))
  for (const response of await Promise.all(asked)) assert.equal(response.status, 403)
  await accessLines(gateway.logged, 20)
  assert.equal(gateway.logged().match(/"code":"exchange_denied"/g)?.length, 1)
})

test('draining turns readiness off, finishes what is in flight, and then refuses connections', async (t) => {
  const issuer = await startIssuer(t)
  let release = (): void => undefined
  let arrived = (): void => undefined
  const inFlight = new Promise<void>((resolve) => (arrived = resolve))
  const upstream = await startUpstream(t, (_received, response) => {
    release = () => response.end('whole')
    arrived()
  })
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    server: { listen: '127.0.0.1:0', drain: { delay: '200ms', timeout: '30s' } },
  })
  const answer = fetch(`${gateway.origin}/orders`, bearer(await issuer.token()))
  await inFlight

  const drained = gateway.drain()
  assert.equal((await fetch(`${gateway.adminOrigin}/readyz`)).status, 503)
  release()
  const response = await answer
  assert.equal(await response.text(), 'whole')
  await drained

  const socket = net.connect(Number(new URL(gateway.origin).port), '127.0.0.1')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNREFUSED')
})

test('while draining each answer ends its connection', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    server: { listen: '127.0.0.1:0', drain: { delay: '1s', timeout: '1s' } },
  })
  const token = await issuer.token()
  const before = await fetch(`${gateway.origin}/orders`, bearer(token))
  assert.equal(before.headers.get('connection'), 'keep-alive')
  const drained = gateway.drain()
  const during = await fetch(`${gateway.origin}/orders`, bearer(token))
  assert.equal(during.status, 200)
  assert.equal(during.headers.get('connection'), 'close')
  await during.text()
  await drained
})

test('a purge makes the next request of that subject an exchange, and of nobody else', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    admin: { listen: '127.0.0.1:0', token: 'the-admin-token' },
  })
  const alice = await issuer.token()
  const bob = await issuer.token({ sub: 'user|bob' })
  const ask = async (token: string): Promise<void> => {
    assert.equal((await fetch(`${gateway.origin}/orders`, bearer(token))).status, 200)
  }
  for (const token of [alice, bob, alice, bob]) await ask(token)
  assert.equal(issuer.exchanges.length, 2)

  const purged = await fetch(`${gateway.adminOrigin}/purge`, {
    method: 'POST',
    headers: { authorization: 'Bearer the-admin-token' },
    body: JSON.stringify({ subject: 'user|alice' }),
  })
  assert.equal(purged.status, 204)

  for (const token of [bob, alice, alice]) await ask(token)
  assert.equal(issuer.exchanges.length, 3)
  assert.equal(issuer.exchanges[2]?.get('subject_token'), alice)
})

async function accessLines(
  logged: () => string,
  count: number,
): Promise<Record<string, unknown>[]> {
  for (;;) {
    const lines = logged()
      .split('\n')
      .filter((line) => line.includes('"msg":"request"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    if (lines.length >= count) return lines
    await new Promise(setImmediate)
  }
}
