import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { readConfig } from '../../src/config/load.ts'
import { createLog } from '../../src/log.ts'
import { serve } from '../../src/server/serve.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import {
  bearer,
  claimsOf,
  oneRoute,
  startGateway,
  startUpstream,
  type Upstream,
} from '../system.ts'

interface Route {
  readonly path?: string
  readonly upstream: string
  readonly audience?: string
}

/** One API, and a route for each of these. */
function routes(issuer: TestIssuer, all: Readonly<Record<string, Route>>, more: object = {}) {
  const [first] = Object.values(all)
  const base = oneRoute({ issuer: issuer.url, upstream: first!.upstream }) as {
    readonly routes: readonly [{ readonly exchange: object }]
  }
  return {
    ...base,
    routes: Object.entries(all).map(([name, { path = `/${name}`, upstream, audience }]) => ({
      ...base.routes[0],
      name,
      match: { path },
      exchange: { audience: audience ?? `https://${name}.internal`, scopes: ['orders:read'] },
      proxy: { upstream },
    })),
    ...more,
  }
}

async function ask(origin: string, path: string, token: string): Promise<number> {
  const response = await fetch(`${origin}${path}`, bearer(token))
  await response.text()
  return response.status
}

const audiencesOf = ({ received }: Upstream): unknown[] =>
  received.map(({ headers }) => claimsOf(headers.authorization)['aud'])

test('after a reload requests go the new way, and the outcome names what changed', async (t) => {
  const issuer = await startIssuer(t)
  const [one, two] = [await startUpstream(t), await startUpstream(t)]
  const token = await issuer.token()
  const gateway = await startGateway(
    t,
    routes(issuer, { orders: { upstream: one.origin }, old: { upstream: one.origin } }),
  )
  assert.equal(await ask(gateway.origin, '/orders', token), 200)
  const outcome = await gateway.reloadWith(
    routes(issuer, { orders: { upstream: two.origin }, new: { upstream: two.origin } }),
  )
  assert.deepEqual(outcome, {
    outcome: 'reloaded',
    changes: { added: ['routes.new'], changed: ['routes.orders'], removed: ['routes.old'] },
    needsRestart: [],
  })
  assert.equal(await ask(gateway.origin, '/orders', token), 200)
  assert.equal(await ask(gateway.origin, '/new', token), 200)
  assert.equal(await ask(gateway.origin, '/old', token), 404)
  assert.equal(one.received.length, 1)
  assert.deepEqual(
    two.received.map(({ url }) => url),
    ['/orders', '/new'],
  )
})

/** `fetch` would name the host that it connects to. */
async function metricsBy(adminOrigin: string, host: string): Promise<number> {
  const request = http.get(`${adminOrigin}/metrics`, { headers: { host }, agent: false })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  return response.statusCode!
}

test('names that operators ask by are listed without a restart', async (t) => {
  const issuer = await startIssuer(t)
  const { origin: upstream } = await startUpstream(t)
  const admin = { listen: '127.0.0.1:0' }
  const configuration = routes(issuer, { orders: { upstream } })
  const gateway = await startGateway(t, { ...configuration, admin })
  assert.equal(await metricsBy(gateway.adminOrigin, 'gateway.internal'), 403)
  const listed = { ...admin, allowedHosts: ['gateway.internal'] }
  assert.deepEqual(await gateway.reloadWith({ ...configuration, admin: listed }), {
    outcome: 'reloaded',
    changes: { added: [], changed: ['admin.allowedHosts'], removed: [] },
    needsRestart: [],
  })
  assert.equal(await metricsBy(gateway.adminOrigin, 'gateway.internal'), 200)
  await gateway.reloadWith({ ...configuration, admin })
  assert.equal(await metricsBy(gateway.adminOrigin, 'gateway.internal'), 403)
})

test('what another route becomes costs no exchange; another exchange block does', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const token = await issuer.token()
  const orders = { upstream: upstream.origin }
  const gateway = await startGateway(t, routes(issuer, { orders }))
  await ask(gateway.origin, '/orders', token)
  await gateway.reloadWith(routes(issuer, { orders, invoices: orders }))
  await ask(gateway.origin, '/orders', token)
  assert.equal(issuer.exchanges.length, 1)
  const other = { ...orders, audience: 'https://other.internal' }
  await gateway.reloadWith(routes(issuer, { orders: other, invoices: orders }))
  await ask(gateway.origin, '/orders', token)
  assert.equal(issuer.exchanges.length, 2)
  assert.deepEqual(audiencesOf(upstream), [
    'https://orders.internal',
    'https://orders.internal',
    'https://other.internal',
  ])
})

test('another client secret is used from then on, and what was exchanged by the old one is kept', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const withSecret = (secret: string): object => ({
    ...oneRoute({
      issuer: issuer.url,
      upstream: upstream.origin,
      client: { id: 'storefront', secret, method: 'client_secret_post' },
    }),
  })
  const gateway = await startGateway(t, withSecret('the-first-secret-of-it'))
  const [alice, bob] = [await issuer.token(), await issuer.token({ sub: 'bob' })]
  await ask(gateway.origin, '/orders', alice)
  const outcome = await gateway.reloadWith(withSecret('the-second-secret-of-it'))
  assert.equal(JSON.stringify(outcome).includes('secret-of-it'), false)
  assert.equal(gateway.logged().includes('secret-of-it'), false)
  await ask(gateway.origin, '/orders', alice)
  await ask(gateway.origin, '/orders', bob)
  assert.deepEqual(
    issuer.exchanges.map((form) => form.get('client_secret')),
    ['the-first-secret-of-it', 'the-second-secret-of-it'],
  )
})

test('a configuration with faults changes nothing: it is logged, counted and told', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const token = await issuer.token()
  const good = routes(issuer, { orders: { upstream: upstream.origin } })
  const gateway = await startGateway(t, good)
  const outcome = await gateway.reloadWith({ ...good, apis: {}, unknown: 1 })
  assert.equal(outcome.outcome, 'refused')
  assert.ok(outcome.outcome === 'refused' && outcome.faults.length > 1)
  assert.equal(await ask(gateway.origin, '/orders', token), 200)
  assert.match(gateway.logged(), /"level":"error".*"outcome":"refused".*"msg":"reload"/)
  assert.match(gateway.metrics.render(), /^behalf_reloads_total\{outcome="refused"\} 1$/m)
  const told = async (): Promise<string> =>
    (await fetch(`${gateway.adminOrigin}/readyz?verbose`)).text()
  assert.match(await told(), /^\[!\] the configuration has \d+ faults: the one before it is in/m)
  const mended = await gateway.reloadWith(good)
  assert.equal(mended.outcome, 'unchanged')
  assert.doesNotMatch(await told(), /in force/)
})

test('what needs a restart is named, and the rest is served', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const token = await issuer.token()
  const orders = { upstream: upstream.origin }
  const gateway = await startGateway(t, routes(issuer, { orders }))
  const outcome = await gateway.reloadWith(
    routes(
      issuer,
      { orders, invoices: orders },
      {
        server: { listen: '127.0.0.2:0', limits: { connections: 7 } },
        endpoints: { forwardAuth: { original: 'path' } },
        cache: { maxEntries: 17 },
      },
    ),
  )
  assert.equal(outcome.outcome, 'reloaded')
  assert.deepEqual(outcome.outcome === 'reloaded' && [...outcome.needsRestart].sort(), [
    'cache.maxEntries',
    'endpoints.forwardAuth',
    'server.limits.connections',
    'server.listen',
  ])
  assert.equal(await ask(gateway.origin, '/invoices', token), 200)
  const told = await (await fetch(`${gateway.adminOrigin}/readyz?verbose`)).text()
  assert.match(told, /^\[!\] server\.listen needs a restart$/m)
  assert.match(told, /^ready$/m)
})

test('a signing secret goes only when the configuration names it no more', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const base = oneRoute({ issuer: issuer.url, upstream: upstream.origin }) as {
    readonly apis: { readonly storefront: object }
  }
  const signedBy = (...signingSecrets: readonly string[]): object => ({
    ...base,
    apis: { storefront: { ...base.apis.storefront, algorithms: ['HS256'], signingSecrets } },
  })
  const gateway = await startGateway(t, signedBy(OLD))
  const [old, recent] = [issuer.signedBy(OLD), issuer.signedBy(NEW)]
  const statuses = async (): Promise<number[]> => [
    await ask(gateway.origin, '/orders', await old),
    await ask(gateway.origin, '/orders', await recent),
  ]
  assert.deepEqual(await statuses(), [200, 401])
  await gateway.reloadWith(signedBy(NEW, OLD))
  assert.deepEqual(await statuses(), [200, 200])
  await gateway.reloadWith(signedBy(NEW))
  assert.deepEqual(await statuses(), [401, 200])
})

const OLD = 'x4Wk0dTq81Zr6mB2uNf9hLs3vEj7cYpA'
const NEW = 'Qe5Rt7Uz2Io9Pa4Sd6Fg8Hj1Kl3Yx0Cv'

test('a request goes on with the configuration that it began with, and ends there', async (t) => {
  const issuer = await startIssuer(t)
  const token = await issuer.token()
  let answer: http.ServerResponse | undefined
  const slow = http.createServer((_request, response) => {
    response.writeHead(200).write('half, ')
    answer = response
  })
  slow.listen(0, '127.0.0.1')
  await once(slow, 'listening')
  t.after(() => slow.close())
  const { port } = slow.address() as { port: number }
  const upstream = await startUpstream(t)
  const gateway = await startGateway(
    t,
    routes(issuer, { orders: { upstream: `http://127.0.0.1:${port}` } }),
  )
  const response = await fetch(`${gateway.origin}/orders`, bearer(token))
  await gateway.reloadWith(routes(issuer, { orders: { upstream: upstream.origin } }))
  assert.equal(await ask(gateway.origin, '/orders', token), 200)
  assert.equal(upstream.received.length, 1)
  answer!.end('and whole')
  assert.equal(await response.text(), 'half, and whole')
})

test('an exchange that is under way goes on, and so does who waits for it', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const token = await issuer.token()
  let answered = (): void => undefined
  const asked = new Promise<void>((resolve) => {
    issuer.answer = async (form, response) => {
      resolve()
      await new Promise<void>((go) => (answered = go))
      await issuer.issue(form, response)
    }
  })
  const orders = { upstream: upstream.origin }
  const gateway = await startGateway(t, routes(issuer, { orders }))
  const waiting = ask(gateway.origin, '/orders', token)
  await asked
  assert.equal((await gateway.reloadWith(routes(issuer, { other: orders }))).outcome, 'reloaded')
  answered()
  assert.equal(await waiting, 200)
  assert.equal(await ask(gateway.origin, '/orders', token), 404)
})

test('a form that arrives while the configuration changes is answered by the new one', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const withAudience = (audience: string): object => ({
    ...routes(issuer, { orders: { upstream: upstream.origin, audience } }),
    endpoints: { token: { listen: '127.0.0.1:0', routes: ['orders'], clients: 'none' } },
  })
  const gateway = await startGateway(t, withAudience('https://one.internal'))
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: await issuer.token(),
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    route: 'orders',
  }).toString()
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': String(form.length),
    expect: '100-continue',
  }
  const request = http.request(`${gateway.tokenOrigin}/token`, { method: 'POST', headers })
  request.flushHeaders()
  request.write(form.slice(0, 40))
  // Another one was answered meanwhile, so that this one has begun to arrive.
  assert.equal((await fetch(`${gateway.tokenOrigin}/token`, { method: 'POST' })).status, 400)
  await gateway.reloadWith(withAudience('https://two.internal'))
  request.end(form.slice(40))
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  let text = ''
  for await (const piece of response) text += String(piece)
  assert.equal(response.statusCode, 200, text)
  const { access_token } = JSON.parse(text) as { readonly access_token: string }
  assert.equal(claimsOf(`Bearer ${access_token}`)['aud'], 'https://two.internal')
})

test('a door that is configured no more is shut, and opens again when it is', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const base = routes(issuer, { orders: { upstream: upstream.origin } })
  const forwardAuth = { listen: '127.0.0.1:0', original: 'path' }
  const gateway = await startGateway(t, { ...base, endpoints: { forwardAuth } })
  const token = await issuer.token()
  const status = (): Promise<number> =>
    ask(gateway.forwardAuthOrigin!, '/forward-auth/orders', token)
  assert.equal(await status(), 200)
  const shut = await gateway.reloadWith(base)
  assert.deepEqual(shut.outcome === 'reloaded' && shut.needsRestart, ['endpoints.forwardAuth'])
  assert.equal(await status(), 404)
  const open = await gateway.reloadWith({ ...base, endpoints: { forwardAuth } })
  assert.deepEqual(open.outcome === 'reloaded' && open.needsRestart, [])
  assert.equal(await status(), 200)
})

test('what may be said on loopback alone is not served by a listener that others reach', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const base = routes(issuer, { orders: { upstream: upstream.origin } })
  const open = (listen: string, clients?: 'none'): object => {
    const token = { listen, routes: ['orders'], ...(clients && { clients }) }
    return { ...base, endpoints: { token } }
  }
  const gateway = await startGateway(t, open('0.0.0.0:0'))
  const { port } = new URL(gateway.tokenOrigin!)
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    subject_token: await issuer.token(),
    route: 'orders',
  })
  const anybody = async (): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}/token`, { method: 'POST', body: form })).status
  assert.equal(await anybody(), 401)

  const outcome = await gateway.reloadWith(open('127.0.0.1:0', 'none'))

  const message = 'is on loopback now, and was not: that needs a restart'
  const faults = [{ path: 'endpoints.token.listen', message }]
  assert.deepEqual(outcome, { outcome: 'refused', faults })
  assert.equal(await anybody(), 401)
  assert.equal((await gateway.reloadWith(open('0.0.0.0:0'))).outcome, 'unchanged')
})

test('what is asked for while a reload runs is one reload, which begins after it', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const base = routes(issuer, { orders: { upstream: upstream.origin } })
  const gateway = await startGateway(t, base)
  const outcomes = await Promise.all([
    gateway.reload(),
    ...Array.from({ length: 10 }, () => gateway.reload()),
  ])
  assert.ok(outcomes.every(({ outcome }) => outcome === 'unchanged'))
  assert.match(gateway.metrics.render(), /^behalf_reloads_total\{outcome="unchanged"\} [12]$/m)
})

test('a gateway that ends does not reload any more', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const gateway = await startGateway(t, routes(issuer, { orders: { upstream: upstream.origin } }))
  const drained = gateway.drain()
  assert.equal((await gateway.reload()).outcome, 'failed')
  await drained
})

test('where a configuration cannot be put together the one before it stays', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const base = oneRoute({ issuer: issuer.url, upstream: upstream.origin })
  const first = readConfig({
    ...base,
    server: { listen: '127.0.0.1:0' },
    admin: { listen: '127.0.0.1:0' },
  })
  // A defect: nothing that was judged is like that.
  const [route] = first.routes
  const match = { ...route!.match, path: undefined }
  const broken = { ...first, routes: [{ ...route, match }] } as unknown as Config
  const log = createLog({ level: 'silent' })
  const serving = await serve(first, { log, load: async () => broken })
  t.after(() => serving.close())
  const token = await issuer.token()
  assert.equal((await serving.reload()).outcome, 'failed')
  assert.equal(await ask(serving.origin, '/orders', token), 200)
  const told = await (await fetch(`${serving.adminOrigin}/readyz?verbose`)).text()
  assert.match(told, /^\[!\] the configuration cannot be loaded: the one before it is in force$/m)
})

test('who is closed while it reloads leaves nothing open', async () => {
  const first = readConfig({
    ...oneRoute({ issuer: 'http://127.0.0.1:9/', upstream: 'http://127.0.0.1:9' }),
    server: { listen: '127.0.0.1:0' },
    admin: { listen: '127.0.0.1:0' },
  })
  const log = createLog({ level: 'silent' })
  const next = { ...first, server: { ...first.server, publicOrigins: ['https://a.example'] } }
  const serving = await serve(first, { log, load: async () => next })
  const reloading = serving.reload()
  await serving.close()
  assert.equal((await reloading).outcome, 'failed')
  assert.doesNotMatch(serving.metrics.render(), /behalf_configurations_retiring [1-9]/)
})
