/**
 * The three oracles at every door: what the upstream counts is what was let through; who the upstream is told of is who asked;
 * and nothing reaches it that is not on the list. The same callers come to each door: many users at once, and among them some who
 * must not get through.
 */
import assert from 'node:assert/strict'
import http from 'node:http'
import { test, type TestContext } from 'node:test'
import express from 'express'
import { gateway, onBehalfOf, type ConfigInput } from '../../src/index.ts'
import { createLog } from '../../src/log.ts'
import { JWT_BEARER, signer } from '../authenticate/assertions.ts'
import { ORIGIN } from '../authenticate/proofs.ts'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import {
  assertHeadersAllowed,
  assertTokensContained,
  claimsOf,
  listen,
  oneRoute,
  startGateway,
  startUpstream,
  type Upstream,
} from '../system.ts'

interface World {
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  readonly configuration: object
}

/** One way for a caller to have the orders service called: what the service answered, or undefined where nobody asked it. */
type Ask = (token: string) => Promise<Record<string, unknown> | undefined>

interface Door {
  readonly ask: Ask
  logged(): string
}

const CLIENT = { id: 'storefront', secret: 'a-secret-of-the-storefront' }
const LISTENING = { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '1s' } }

/** As a data plane, or a service, goes on by itself with what it was given. */
async function goOn(upstream: Upstream, authorization: string): ReturnType<Ask> {
  const response = await fetch(`${upstream.origin}/orders`, { headers: { authorization } })
  return (await response.json()) as Record<string, unknown>
}

async function embedded(
  t: TestContext,
  { configuration }: World,
  mount: (app: express.Express, behalf: Awaited<ReturnType<typeof gateway>>) => void,
): Promise<{ readonly origin: string; logged(): string }> {
  let text = ''
  const log = createLog({ destination: { write: (line) => (text += line) } })
  const behalf = await gateway(configuration as ConfigInput, { log })
  t.after(() => behalf.close())
  const app = express()
  mount(app, behalf)
  return { origin: await listen(t, http.createServer(app)), logged: () => text }
}

const asking =
  (origin: string, path: string): Ask =>
  async (token) => {
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(`${origin}${path}`, { headers })
    const body = (await response.json()) as Record<string, unknown>
    return response.status === 200 ? body : undefined
  }

const DOORS: Readonly<Record<string, (t: TestContext, world: World) => Promise<Door>>> = {
  async 'the proxy'(t, { configuration }) {
    const { origin, logged } = await startGateway(t, configuration)
    return { ask: asking(origin, '/orders'), logged }
  },
  async 'the middleware'(t, world) {
    const { origin, logged } = await embedded(t, world, (app, behalf) => app.use('/api', behalf))
    return { ask: asking(origin, '/api/orders'), logged }
  },
  async 'a step before a handler'(t, world) {
    const { origin, logged } = await embedded(t, world, (app, behalf) => {
      app.get('/latest', onBehalfOf(behalf, 'orders'), async (request, response) => {
        const { token } = request.behalf!
        const { authorization } = token.headersFor('GET', world.upstream.origin)
        response.json(await goOn(world.upstream, authorization))
      })
    })
    return { ask: asking(origin, '/latest'), logged }
  },
  async 'forward-auth'(t, { configuration, upstream }) {
    const { forwardAuthOrigin, logged } = await startGateway(t, {
      ...configuration,
      endpoints: { forwardAuth: { listen: '127.0.0.1:0', original: 'path' } },
    })
    return {
      async ask(token) {
        const url = `${forwardAuthOrigin}/forward-auth/orders`
        const headers = { authorization: `Bearer ${token}` }
        const response = await fetch(url, { headers })
        const authorization = response.headers.get('authorization')
        await response.arrayBuffer()
        if (response.status === 200) return goOn(upstream, authorization!)
        assert.equal(authorization, null)
        return undefined
      },
      logged,
    }
  },
  'the token endpoint': (t, world) =>
    tokenEndpoint(t, world, {}, () =>
      Promise.resolve({ client_id: CLIENT.id, client_secret: CLIENT.secret }),
    ),
  'the token endpoint, to a client that signs': (t, world) => {
    const key = signer()
    const callers = { storefront: [{ publicKey: key.pem.publicKey }] }
    return tokenEndpoint(t, world, { callers }, async () => ({
      client_assertion_type: JWT_BEARER,
      client_assertion: await key.assertion(),
    }))
  },
}

async function tokenEndpoint(
  t: TestContext,
  { configuration, upstream }: World,
  options: object,
  credentials: () => Promise<Readonly<Record<string, string>>>,
): Promise<Door> {
  const { tokenOrigin, logged } = await startGateway(t, {
    ...configuration,
    server: { ...LISTENING, publicOrigin: ORIGIN },
    endpoints: { token: { listen: '127.0.0.1:0', routes: ['orders'], ...options } },
  })
  return {
    async ask(token) {
      const body = new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        route: 'orders',
        ...(await credentials()),
      })
      const response = await fetch(`${tokenOrigin}/token`, { method: 'POST', body })
      const { access_token: issued } = (await response.json()) as { access_token?: string }
      if (response.status === 200) return goOn(upstream, `Bearer ${issued}`)
      assert.equal(issued, undefined)
      return undefined
    },
    logged,
  }
}

const USERS = 20

for (const [name, open] of Object.entries(DOORS)) {
  test(`at ${name} the three oracles hold`, async (t) => {
    const issuer = await startIssuer(t)
    const upstream = await startUpstream(t)
    const configuration = oneRoute({ issuer: issuer.url, upstream: upstream.origin })
    const { ask, logged } = await open(t, { issuer, upstream, configuration })
    const good = await Promise.all(
      Array.from({ length: USERS }, (_, at) => issuer.token({ sub: `canary-${at}` })),
    )
    const bad = [
      await issuer.token({ sub: 'poor', scope: 'read:nothing' }),
      await issuer.token({ sub: 'foreign', aud: 'https://another.example' }),
      await issuer.token({ sub: 'late', exp: 1 }),
      `${good[0]!.split('.').slice(0, 2).join('.')}.${good[1]!.split('.')[2]}`,
    ]
    // Each twice: once by an exchange, once from the cache, and all of them among each other.
    const answers = await Promise.all([...good, ...bad, ...good].map(ask))

    const subjects = answers.map((answer) => answer?.['sub'])
    const canaries = good.map((_, at) => `canary-${at}`)
    assert.deepEqual(subjects, [...canaries, ...bad.map(() => undefined), ...canaries])
    assert.equal(upstream.received.length, 2 * USERS)
    for (const { headers } of upstream.received) {
      assert.equal(claimsOf(headers.authorization)['aud'], 'https://orders.internal')
    }
    assertHeadersAllowed(upstream)
    for (const token of [...good, ...bad]) assertTokensContained({ logged }, upstream, token)
  })
}
