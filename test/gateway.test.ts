import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { mock, test, type TestContext } from 'node:test'
import { respond, startIssuer, type TestIssuer } from './issuer.ts'
import {
  assertHeadersAllowed,
  assertTokensContained,
  bearer,
  claimsOf,
  oneRoute,
  startGateway,
  startUpstream,
  type Gateway,
  type Upstream,
} from './system.ts'

interface World {
  readonly issuer: TestIssuer
  readonly upstream: Upstream
  readonly gateway: Gateway
}

async function world(t: TestContext, setting: object = {}): Promise<World> {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const configuration = oneRoute({ issuer: issuer.url, upstream: upstream.origin, ...setting })
  return { issuer, upstream, gateway: await startGateway(t, configuration) }
}

interface Problem {
  readonly code: string
  readonly status: number
  readonly request_id: string
}

test('a request reaches the upstream with a token that was issued for it, and with nothing of the caller’s credentials', async (t) => {
  const { issuer, upstream, gateway } = await world(t)
  const token = await issuer.token()

  const response = await fetch(`${gateway.origin}/orders/1?page=2`, {
    method: 'POST',
    body: 'one order',
    headers: {
      authorization: `Bearer ${token}`,
      cookie: 'session=1',
      'x-forwarded-for': '6.6.6.6',
    },
  })

  assert.equal(response.status, 200)
  const [received] = upstream.received
  assert.equal(received?.url, '/orders/1?page=2')
  assert.equal(received?.body, 'one order')
  const { sub, aud, scope } = claimsOf(received?.headers.authorization)
  assert.deepEqual(
    { sub, aud, scope },
    {
      sub: 'user|alice',
      aud: 'https://orders.internal',
      scope: 'orders:read',
    },
  )
  assert.equal(received?.headers['x-request-id'], response.headers.get('x-request-id'))
  assert.equal(received?.headers['x-forwarded-for'], '127.0.0.1')
  assertHeadersAllowed(upstream)
  assertTokensContained(gateway, upstream, token)
})

test('500 concurrent first requests of one user for one audience make one exchange', async (t) => {
  const { issuer, upstream, gateway } = await world(t)
  const token = await issuer.token()

  const statuses = await Promise.all(
    Array.from({ length: 500 }, () =>
      fetch(`${gateway.origin}/orders`, bearer(token)).then(statusOf),
    ),
  )

  assert.deepEqual(new Set(statuses), new Set([200]))
  assert.equal(issuer.exchanges.length, 1)
  assert.equal(upstream.received.length, 500)
})

test('500 concurrent first requests of 50 users make 50 exchanges, and nobody meets another’s token', async (t) => {
  const { issuer, upstream, gateway } = await world(t)
  const users = await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const sub = `user|${index}`
      return { sub, token: await issuer.token({ sub }) }
    }),
  )

  const seen = await Promise.all(
    Array.from({ length: 500 }, async (_, index) => {
      const user = users[index % users.length]!
      const response = await fetch(`${gateway.origin}/orders`, bearer(user.token))
      const { sub } = (await response.json()) as { sub: string }
      return sub === user.sub
    }),
  )

  assert.ok(seen.every((own) => own))
  assert.equal(issuer.exchanges.length, 50)
  assert.equal(upstream.received.length, 500)
})

test('when the issuer is gone, users with a live entry are served and the others get 503 with Retry-After', async (t) => {
  const { issuer, upstream, gateway } = await world(t)
  const known = await issuer.token()
  const stranger = await issuer.token({ sub: 'user|bob' })
  assert.equal((await fetch(`${gateway.origin}/orders`, bearer(known))).status, 200)

  await issuer.kill()

  assert.equal((await fetch(`${gateway.origin}/orders`, bearer(known))).status, 200)
  const refused = await fetch(`${gateway.origin}/orders`, bearer(stranger))
  assert.equal(refused.status, 503)
  assert.equal(((await refused.json()) as Problem).code, 'exchange_unavailable')
  assert.match(refused.headers.get('retry-after') ?? '', /^\d+$/)
  assert.equal(upstream.received.length, 2)
})

test('without the issuer’s keys a token is neither good nor bad: 503, never 401', async (t) => {
  const issuer = await startIssuer(t)
  const token = await issuer.token()
  // Before the gateway starts, which asks for the keys at once.
  await issuer.kill()
  const upstream = 'http://127.0.0.1:9'
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream }))
  const response = await fetch(`${gateway.origin}/orders`, bearer(token))
  assert.equal(response.status, 503)
  assert.equal(((await response.json()) as Problem).code, 'keys_unavailable')
})

const refusals = [
  ['no token', {}, 401, 'missing_token', 'Bearer'],
  ['another scheme', { authorization: 'Basic YTpi' }, 401, 'missing_token', 'Bearer'],
  [
    'no JWT',
    { authorization: 'Bearer abc' },
    401,
    'invalid_token',
    /^Bearer error="invalid_token"/,
  ],
] as const
for (const [what, headers, status, code, challenge] of refusals) {
  test(`${what} is ${code}, told as problem+json, and reaches nobody`, async (t) => {
    const { issuer, upstream, gateway } = await world(t)
    const response = await fetch(`${gateway.origin}/orders`, { headers })
    assert.equal(response.status, status)
    assert.equal(response.headers.get('content-type'), 'application/problem+json')
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff')
    assert.equal(response.headers.get('cache-control'), 'no-store')
    const told = response.headers.get('www-authenticate') ?? ''
    if (typeof challenge === 'string') assert.equal(told, challenge)
    else assert.match(told, challenge)
    const problem = (await response.json()) as Problem
    assert.equal(problem.code, code)
    assert.equal(problem.request_id, response.headers.get('x-request-id'))
    assert.equal(upstream.received.length + issuer.exchanges.length, 0)
  })
}

test('a missing scope is refused with the scope that was needed, on a hit as on a miss', async (t) => {
  const { issuer, upstream, gateway } = await world(t)
  assert.equal((await fetch(`${gateway.origin}/orders`, bearer(await issuer.token()))).status, 200)

  const poorer = await issuer.token({ scope: 'read:invoices' })
  const response = await fetch(`${gateway.origin}/orders`, bearer(poorer))
  assert.equal(response.status, 403)
  assert.equal(((await response.json()) as Problem).code, 'insufficient_scope')
  assert.match(response.headers.get('www-authenticate') ?? '', /scope="read:orders"/)
  assert.equal(upstream.received.length, 1)
})

const decisions = [
  ['access_denied', 403, 'exchange_denied'],
  ['invalid_request', 401, 'invalid_token'],
  ['invalid_client', 502, 'exchange_misconfigured'],
] as const
for (const [error, status, code] of decisions) {
  test(`the issuer’s ${error} is ${code}, and none of its words reach the caller`, async (t) => {
    const { issuer, upstream, gateway } = await world(t)
    issuer.answer = (_form, response) =>
      respond(response, { error, error_description: 'a secret of the issuer' }, 400)
    const response = await fetch(`${gateway.origin}/orders`, bearer(await issuer.token()))
    const text = await response.text()
    assert.equal(response.status, status)
    assert.equal((JSON.parse(text) as Problem).code, code)
    assert.equal(text.includes('secret of the issuer'), false)
    assert.equal(upstream.received.length, 0)
  })
}

/** What becomes of a request of Alice's whose issued token is of this subject. */
async function issuedFor(t: TestContext, sub: string): Promise<World & { response: Response }> {
  const { issuer, ...others } = await world(t)
  issuer.answer = async (form, response) => {
    const access_token = await issuer.sign({ sub, aud: form.get('audience') ?? '' })
    await issuer.issue(form, response, { access_token })
  }
  const response = await fetch(`${others.gateway.origin}/orders`, bearer(await issuer.token()))
  return { issuer, ...others, response }
}

test('an issued token of the same subject is forwarded', async (t) => {
  const { response, upstream } = await issuedFor(t, 'user|alice')
  assert.equal(response.status, 200)
  assert.equal(upstream.received.length, 1)
})

test('an issued token of another subject is never forwarded', async (t) => {
  const { response, upstream } = await issuedFor(t, 'user|mallory')
  assert.equal(response.status, 502)
  assert.equal(((await response.json()) as Problem).code, 'exchange_misconfigured')
  assert.equal(upstream.received.length, 0)
})

/** Refuses the first so many tokens that it is sent, whoever sends them. */
async function choosyUpstream(t: TestContext, refused: number): Promise<Upstream> {
  const tokens = new Set<string>()
  return startUpstream(t, ({ headers }, response) => {
    tokens.add(headers.authorization ?? '')
    const index = [...tokens].indexOf(headers.authorization ?? '')
    if (index >= refused) response.end('yours')
    else response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end('who?')
  })
}

test('an issued token that the upstream refuses is exchanged once more, and the request replayed', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await choosyUpstream(t, 1)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  const token = await issuer.token()
  for (let request = 0; request < 2; request++) {
    const response = await fetch(`${gateway.origin}/orders`, bearer(token))
    assert.equal(response.status, 200)
    assert.equal(await response.text(), 'yours')
  }
  assert.equal(issuer.exchanges.length, 2)
  assert.equal(upstream.received.length, 3)
})

test('a request with a body is not replayed, but the next one has the new token', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await choosyUpstream(t, 1)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  const token = await issuer.token()
  const posted = { method: 'POST', body: 'one order', ...bearer(token) }
  const first = await fetch(`${gateway.origin}/orders`, posted)
  assert.equal(first.status, 502)
  assert.equal(((await first.json()) as Problem).code, 'upstream_rejected_token')
  assert.equal((await fetch(`${gateway.origin}/orders`, posted)).status, 200)
  assert.equal(issuer.exchanges.length, 2)
  assert.equal(upstream.received.length, 2)
})

test('an upstream that refuses every token is our 502, not the caller’s 401, and costs two exchanges', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await choosyUpstream(t, Infinity)
  const gateway = await startGateway(t, oneRoute({ issuer: issuer.url, upstream: upstream.origin }))
  const token = await issuer.token()
  for (let request = 0; request < 20; request++) {
    const response = await fetch(`${gateway.origin}/orders`, bearer(token))
    assert.equal(response.status, 502)
    assert.equal(((await response.json()) as Problem).code, 'upstream_rejected_token')
    assert.equal(response.headers.get('www-authenticate'), null)
  }
  assert.equal(issuer.exchanges.length, 2)
})

test('a token is refused from the moment that the clock tolerance after its exp is over', async (t) => {
  const { issuer, gateway } = await world(t)
  const token = await issuer.token()
  assert.equal((await fetch(`${gateway.origin}/orders`, bearer(token))).status, 200)

  const expiresAt = Number(claimsOf(`Bearer ${token}`)['exp']) * 1_000
  mock.timers.enable({ apis: ['Date'], now: expiresAt + 4_999 })
  t.after(() => mock.timers.reset())
  assert.equal((await fetch(`${gateway.origin}/orders`, bearer(token))).status, 200)
  mock.timers.setTime(expiresAt + 5_000)
  const late = await fetch(`${gateway.origin}/orders`, bearer(token))
  assert.equal(late.status, 401)
  assert.equal(((await late.json()) as Problem).code, 'invalid_token')
})

test('a caller that leaves during the exchange is recorded as gone, and its answer is kept', async (t) => {
  const { issuer, upstream, gateway } = await world(t)
  const token = await issuer.token()
  const asked = gate()
  const answered = gate()
  issuer.answer = async (form, response) => {
    asked.open()
    await answered.passed
    await issuer.issue(form, response)
  }
  const controller = new AbortController()
  const leaving = fetch(`${gateway.origin}/orders`, { ...bearer(token), signal: controller.signal })
  await asked.passed
  controller.abort()
  await assert.rejects(leaving)
  while (!gateway.logged().includes('caller_gone')) await new Promise(setImmediate)
  answered.open()

  assert.equal((await fetch(`${gateway.origin}/orders`, bearer(token))).status, 200)
  assert.equal(issuer.exchanges.length, 1)
  assert.equal(upstream.received.length, 1)
})

test('the body of a refused request is not read as the next request, and the next one is', async (t) => {
  const { upstream, gateway } = await world(t)
  const inner = 'GET /orders HTTP/1.1\r\nHost: a\r\n\r\n'
  const answers = await conversation(
    gateway,
    `POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: ${inner.length}\r\n\r\n${inner}` +
      'GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  )
  assert.deepEqual(answers, ['401', '404'])
  assert.equal(upstream.received.length, 0)
})

test('after an expectation that was not met nothing more is read: a body may follow or not', async (t) => {
  const { gateway } = await world(t)
  const answers = await conversation(
    gateway,
    'POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n' +
      'GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n',
  )
  assert.deepEqual(answers, ['401'])
})

test('a caller that sends a megabyte to be refused reads the refusal', async (t) => {
  const { gateway } = await world(t)
  const body = 'x'.repeat(1_048_576)
  const head = `POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`
  const last = 'GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  assert.deepEqual(await conversation(gateway, head + body + last), ['401', '404'])
})

test('a target that Express cannot read is refused as any other, and recorded', async (t) => {
  const { upstream, gateway } = await world(t)
  const target = 'http://[::1/orders'
  const bytes = `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`
  assert.deepEqual(await conversation(gateway, bytes), ['400'])
  assert.match(gateway.logged(), /"result":"invalid_request_target"/)
  assert.equal(upstream.received.length, 0)
})

test('a token in the path is served, and does not get into the log', async (t) => {
  const { issuer, upstream, gateway } = await world(t)
  const token = await issuer.token()
  const response = await fetch(`${gateway.origin}/orders/${token}/items`, bearer(token))
  assert.equal(response.status, 200)
  assert.equal(upstream.received[0]?.url, `/orders/${token}/items`)
  assert.match(gateway.logged(), /"path":"\/orders\/\[masked\]\/items"/)
  assert.equal(gateway.logged().includes(token.split('.')[1] ?? ''), false)
})

/** The statuses that come back for these bytes on one connection. */
async function conversation(gateway: Gateway, bytes: string): Promise<string[]> {
  const socket = net.connect(Number(new URL(gateway.origin).port), '127.0.0.1')
  let answers = ''
  socket.on('data', (chunk: Buffer) => (answers += chunk.toString('latin1')))
  socket.write(bytes)
  await once(socket, 'close')
  return [...answers.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status = '']) => status)
}

function statusOf({ status }: Response): number {
  return status
}

function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined
  const passed = new Promise<void>((resolve) => (open = resolve))
  return { passed, open: () => open() }
}
