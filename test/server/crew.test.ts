import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import http from 'node:http'
import { test, type TestContext } from 'node:test'
import { readConfig } from '../../src/config/load.ts'
import { createLog } from '../../src/log.ts'
import { createMetrics, type Metrics } from '../../src/metrics.ts'
import { Crew } from '../../src/server/crew.ts'
import { Respawn } from '../../src/server/respawn.ts'
import { startIssuer } from '../issuer.ts'
import { bearer, oneRoute, startUpstream } from '../system.ts'

const bounded = { timeout: 60_000 }

interface World {
  readonly crew: Crew
  readonly metrics: Metrics
  readonly origin: string
  readonly token: string
  readonly configuration: object
  kill(worker: number): void
  /** The next line of the log with this message. */
  told(message: string): Promise<Record<string, unknown>>
}

async function world(t: TestContext, respawn?: () => Respawn): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const pids = new Map<unknown, number>()
  const waiting: [string, (line: Record<string, unknown>) => void][] = []
  const write = (text: string): void => {
    for (const one of text.trimEnd().split('\n')) {
      const line = JSON.parse(one) as Record<string, unknown>
      if (line['msg'] === 'a worker is ready') pids.set(line['worker'], Number(line['pid']))
      const index = waiting.findIndex(([message]) => message === line['msg'])
      if (index >= 0) waiting.splice(index, 1)[0]![1](line)
    }
  }
  const configuration = {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    server: { listen: '127.0.0.1:0', workers: 2, drain: { delay: '0ms', timeout: '30s' } },
  }
  const metrics = createMetrics()
  const crew = new Crew(readConfig(configuration), {
    log: createLog({ destination: { write } }),
    level: 'info',
    metrics,
    ...(respawn && { respawn }),
  })
  t.after(() => crew.close())
  const { origin } = await crew.start()
  return {
    ...{ crew, metrics, origin, configuration },
    token: await issuer.token(),
    kill: (worker) => void process.kill(pids.get(worker)!, 'SIGKILL'),
    told: (message) => new Promise((resolve) => waiting.push([message, resolve])),
  }
}

async function statusOf({ origin, token }: World, path = '/orders'): Promise<number> {
  const request = http.get(`${origin}${path}`, { agent: false, ...bearer(token) })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  return response.statusCode!
}

test(
  'a worker that keeps on ending is given up, and when all are there is no hope, until a new configuration',
  bounded,
  async (t) => {
    const one = await world(t, () => new Respawn(1))
    const { crew } = one
    const ready = one.told('a worker is ready')
    one.kill(1)
    await ready
    const given = one.told('a worker is not started again')
    one.kill(1)
    assert.equal((await given)['level'], 'fatal')
    assert.deepEqual(crew.ready, [2])
    assert.deepEqual(
      (await crew.ailments()).filter((line) => line.startsWith('worker')),
      ['worker 1 is not ready: given up, 2 ended in a row'],
    )
    assert.equal(await statusOf(one), 200)

    const again = one.told('a worker is ready')
    const [route] = (one.configuration as { routes: object[] }).routes
    const moved = { ...one.configuration, routes: [{ ...route, match: { path: '/moved' } }] }
    await crew.swap(readConfig(moved))
    assert.equal((await again)['worker'], 1)
    for (let request = 0; request < 4; request++) assert.equal(await statusOf(one, '/moved'), 200)

    const back = one.told('a worker is ready')
    one.kill(2)
    await back
    // With the configuration in force, whatever it began with.
    for (let request = 0; request < 4; request++) assert.equal(await statusOf(one, '/moved'), 200)

    const end = async (worker: number, message: string): Promise<void> => {
      const ended = one.told(message)
      one.kill(worker)
      await ended
    }
    await end(2, 'a worker is not started again')
    await end(1, 'a worker is ready')
    await end(1, 'a worker is not started again')
    await crew.hopeless
    await assert.rejects(crew.all('purge', { subject: 'alice' }), /no worker is ready/)
  },
)

test(
  'what the first worker cannot take changes nothing, and what all counted to their ends stays',
  bounded,
  async (t) => {
    const one = await world(t)
    const config = readConfig(one.configuration)
    const broken = { ...config, routes: undefined as unknown as typeof config.routes }
    await assert.rejects(one.crew.swap(broken))
    assert.deepEqual(one.crew.ready, [1, 2])
    for (let request = 0; request < 3; request++) assert.equal(await statusOf(one), 200)

    await one.crew.drain()
    const requests = (await one.crew.snapshot()).find(
      ({ name }) => name === 'behalf_requests_total',
    )
    assert.deepEqual(
      requests?.series.map(({ value }) => value),
      [3],
    )
  },
)

test('who serves by one process loads no cluster', () => {
  const wanted = ['crew.ts', 'handed.ts', 'worker.ts']
  const loaders = readdirSync('src', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({ name, text: readFileSync(`src/${name}`, 'utf8') }))
  const users = loaders.filter(({ text }) => text.includes("from 'node:cluster'"))
  assert.deepEqual(users.map(({ name }) => name.replace(/^server\//, '')).sort(), wanted)
  // Their values: types are gone when it runs, and `import()` is a choice.
  const statically = /^(?!import type).*from '(?:\.|\.\.\/server)\/(?:crew|workers|worker)\.ts'$/m
  const importers = loaders.filter(({ text }) => statically.test(text)).map(({ name }) => name)
  assert.deepEqual(importers, ['server/workers.ts'])
})
