/** What `/metrics` says of what is there now, and whether Prometheus finds it well named. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { test } from 'node:test'
import { startIssuer } from '../issuer.ts'
import { missing } from '../programs.ts'
import { bearer, type Gateway, listen, oneRoute, startGateway, startUpstream } from '../system.ts'

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

test('an issuer that does not give its keys is seen, and so is its return', bounded, async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  let isGone = false
  const keys = http.createServer((_request, response) => {
    if (isGone) response.writeHead(503).end()
    else void fetch(`${issuer.url}jwks`).then(async (answer) => response.end(await answer.text()))
  })
  const jwksUri = `${await listen(t, keys)}/jwks`
  const configuration = oneRoute({ issuer: issuer.url, upstream: upstream.origin })
  const tenant = { issuer: issuer.url, profile: 'rfc8693', jwksUri }
  const gateway = await startGateway(t, { ...configuration, issuers: { tenant } })
  const token = await issuer.token()
  const ask = async (): Promise<void> => {
    const response = await fetch(`${gateway.origin}/orders`, bearer(token))
    assert.equal(response.status, 200)
    await response.arrayBuffer()
  }
  const up = 'behalf_issuer_keys_up{issuer="tenant"}'
  const ailing = async (): Promise<boolean> => {
    const report = await (await fetch(`${gateway.adminOrigin}/readyz?verbose`)).text()
    return report.includes(`[!] ${issuer.url} did not give its keys`)
  }
  await ask()
  assert.equal(valueOf(gateway, up), 1)
  assert.equal(await ailing(), false)
  isGone = true
  // Those that it gave are fresh for ten minutes, and used for an hour more.
  t.mock.timers.tick(10 * 60_000)
  await ask()
  await becomes(gateway, up, 0)
  assert.equal(await ailing(), true)
  isGone = false
  // A token that was verified is remembered for a minute, and asks for no key.
  t.mock.timers.tick(61_000)
  await ask()
  await becomes(gateway, up, 1)
  // With nobody to verify, nobody asks for keys: those that were known are too old by then, and that is no ailment.
  t.mock.timers.tick(3 * 3_600_000)
  assert.equal(await ailing(), false)
})

test('an issuer whose tokens are signed with a secret has no keys to give', bounded, async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const signingSecret = 'Vq7dKx2mRz9TbN4wYs6LhC1fJg8PaE3u'
  const api = { algorithms: ['HS256'], signingSecret }
  const setting = { issuer: issuer.url, upstream: upstream.origin }
  const gateway = await startGateway(t, oneRoute({ ...setting, api }))
  assert.doesNotMatch(gateway.metrics.render(), /behalf_issuer_keys_up/)
  await gateway.reloadWith(oneRoute(setting))
  assert.equal(valueOf(gateway, 'behalf_issuer_keys_up{issuer="tenant"}'), 1)
  await gateway.reloadWith(oneRoute({ ...setting, api }))
  while (/behalf_issuer_keys_up\{/.test(gateway.metrics.render())) await new Promise(setImmediate)
})

test(
  'whether what was read last is in force is seen until a reload is good',
  bounded,
  async (t) => {
    const issuer = await startIssuer(t)
    const upstream = await startUpstream(t)
    const good = oneRoute({ issuer: issuer.url, upstream: upstream.origin })
    const gateway = await startGateway(t, good)
    const inForce = (): unknown => valueOf(gateway, 'behalf_last_reload_successful')
    assert.equal(inForce(), 1)
    assert.equal((await gateway.reloadWith({ ...good, routes: [] })).outcome, 'refused')
    assert.equal(inForce(), 0)
    assert.equal((await gateway.reloadWith(good)).outcome, 'unchanged')
    assert.equal(inForce(), 1)
  },
)

test('the memory of the process is told', bounded, async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  assert.ok(valueOf(gateway, 'process_resident_memory_bytes')! > 1_000_000)
})

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
