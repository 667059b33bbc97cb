/** What `/metrics` says of what is there now, and whether Prometheus finds it well named. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { test } from 'node:test'
import { startIssuer } from '../issuer.ts'
import { missing } from '../programs.ts'
import { bearer, type Gateway, oneRoute, startGateway, startUpstream } from '../system.ts'

/** The value of one series; undefined where there is none. */
function valueOf({ metrics }: Gateway, series: string): number | undefined {
  const line = metrics
    .render()
    .split('\n')
    .find((one) => one.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

/** What others bring about is waited for. */
async function becomes(gateway: Gateway, series: string, value: number): Promise<void> {
  while (valueOf(gateway, series) !== value) await new Promise((resolve) => setImmediate(resolve))
}

const bounded = { timeout: 60_000 }

test('connections of callers are counted while they are open', bounded, async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  await becomes(gateway, 'behalf_connections_open', 0)
  const port = Number(new URL(gateway.origin).port)
  const sockets = [1, 2].map(() => net.connect(port, '127.0.0.1'))
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  await becomes(gateway, 'behalf_connections_open', 2)
  sockets[0]!.destroy()
  await becomes(gateway, 'behalf_connections_open', 1)
  sockets[1]!.destroy()
  await becomes(gateway, 'behalf_connections_open', 0)
})

test(
  'an upstream that is passed over is seen, and how often that came about',
  bounded,
  async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const issuer = await startIssuer(t)
    const good = await startUpstream(t)
    const bad = await startUpstream(t, (_received, response) => {
      response.statusCode = isMended ? 200 : 503
      response.end()
    })
    let isMended = false
    const upstreams = [good, bad].map(({ origin }) => ({ url: origin, weight: 1 }))
    const gateway = await startGateway(
      t,
      oneRoute({
        issuer: issuer.url,
        upstream: good.origin,
        proxy: { upstream: undefined, upstreams },
      }),
    )
    const token = await issuer.token()
    const ask = async (times: number): Promise<void> => {
      for (let time = 0; time < times; time++) {
        const response = await fetch(`${gateway.origin}/orders`, bearer(token))
        await response.arrayBuffer()
      }
    }
    const paused = 'behalf_upstreams_paused{route="orders"}'
    const pauses = 'behalf_upstream_pauses_total{route="orders"}'
    const both = (): unknown => [valueOf(gateway, paused), valueOf(gateway, pauses)]
    assert.deepEqual(both(), [0, 0])
    await ask(10)
    assert.deepEqual(both(), [1, 1])
    const failed = bad.received.length
    await ask(10)
    assert.equal(bad.received.length, failed)
    // Its pause is over, and it fails again.
    t.mock.timers.tick(2_000)
    assert.deepEqual(both(), [0, 1])
    await ask(2)
    assert.deepEqual(both(), [1, 2])
    isMended = true
    t.mock.timers.tick(5_000)
    await ask(2)
    assert.deepEqual(both(), [0, 2])
  },
)

test('a route with one upstream has none that is passed over', bounded, async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t, (_received, response) => {
    response.writeHead(503).end()
  })
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  const token = await issuer.token()
  for (let time = 0; time < 5; time++) {
    const response = await fetch(`${gateway.origin}/orders`, bearer(token))
    assert.equal(response.status, 503)
    await response.arrayBuffer()
  }
  assert.doesNotMatch(gateway.metrics.render(), /behalf_upstream(?:s_paused|_pauses_total)/)
  assert.equal(upstream.received.length, 5)
})

test(
  'promtool finds nothing to complain of in what a gateway tells',
  { ...bounded, skip: missing('promtool') },
  async (t) => {
    const issuer = await startIssuer(t)
    const upstream = await startUpstream(t)
    const other = await startUpstream(t)
    const upstreams = [upstream, other].map(({ origin }) => ({ url: origin, weight: 1 }))
    const gateway = await startGateway(
      t,
      oneRoute({
        issuer: issuer.url,
        upstream: upstream.origin,
        proxy: { upstream: undefined, upstreams },
      }),
    )
    const response = await fetch(`${gateway.origin}/orders`, bearer(await issuer.token()))
    await response.arrayBuffer()
    const told = await fetch(`${gateway.adminOrigin}/metrics`)
    const input = await told.text()
    for (const name of [
      'connections_open',
      'requests_in_flight',
      'upstreams_paused',
      'shed_total',
    ]) {
      assert.ok(input.includes(`\n# TYPE behalf_${name} `), name)
    }
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input,
      encoding: 'utf8',
      timeout: 30_000,
    })
    assert.equal(status, 0, `${stdout}${stderr}`)
  },
)
