import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Authenticate, SubjectToken } from '../../src/authenticate/authenticate.ts'
import type { Route } from '../../src/config/config.ts'
import type { RateConfig } from '../../src/config/limits.ts'
import { GatewayError } from '../../src/errors.ts'
import { rateLimited } from '../../src/server/rate-limits.ts'
import { startIssuer } from '../issuer.ts'
import { presented, route, subject } from '../support.ts'
import { bearer, oneRoute, startGateway, startUpstream } from '../system.ts'

function limited(name: string, ...rates: readonly RateConfig[]): Route {
  return route({ name, proxy: { limits: { ...route().proxy.limits, rates } } })
}

const ONE = { rate: 1, burst: 1 }

interface Asking {
  (who?: Partial<SubjectToken>, address?: string): unknown
  readonly shed: string[]
}

/** What becomes of a request: nothing, or the failure. */
function asking(to: Route, { processes = 1, isKnown = true } = {}): Asking {
  const shed: string[] = []
  let who: SubjectToken
  const authenticate: Authenticate = () => {
    if (!isKnown) throw new GatewayError('invalid_token', 'no')
    return who
  }
  const limits = rateLimited(authenticate, {
    ...{ routes: [to], processes },
    shed: (reason) => void shed.push(reason),
  })
  const ask = (given: Partial<SubjectToken> = {}, address = '192.0.2.1'): unknown => {
    who = subject(given)
    try {
      void limits(presented('token', { address: () => address }), to)
      return undefined
    } catch (error) {
      assert.ok(error instanceof GatewayError)
      return error.code
    }
  }
  return Object.assign(ask, { shed })
}

test('a subject has a rate of its own, whatever its token, client and address', () => {
  const ask = asking(limited('orders', { by: 'subject', ...ONE }))
  assert.equal(ask({ subject: 'alice' }), undefined)
  assert.equal(
    ask({ subject: 'alice', value: 'another', client: 'spa' }, '192.0.2.2'),
    'rate_limited',
  )
  assert.equal(ask({ subject: 'bob' }), undefined)
  assert.equal(ask({ subject: 'alice', issuer: 'https://other.example/' }), undefined)
  assert.deepEqual(ask.shed, ['rate_subject'])
})

test('a client has one for all its subjects, and tokens without a client are one', () => {
  const ask = asking(limited('orders', { by: 'client', ...ONE }))
  assert.equal(ask({ client: 'spa', subject: 'alice' }), undefined)
  assert.equal(ask({ client: 'spa', subject: 'bob' }), 'rate_limited')
  assert.equal(ask({ client: 'app' }), undefined)
  assert.equal(ask({ client: undefined, subject: 'alice' }), undefined)
  assert.equal(ask({ client: undefined, subject: 'bob' }), 'rate_limited')
})

test('an address is counted before tokens are looked at', () => {
  const ask = asking(limited('orders', { by: 'address', ...ONE }), { isKnown: false })
  assert.equal(ask(), 'invalid_token')
  assert.equal(ask(), 'rate_limited')
  assert.equal(ask({}, '192.0.2.2'), 'invalid_token')
})

test('a token that is no good costs its subject nothing', () => {
  const ask = asking(limited('orders', { by: 'subject', ...ONE }), { isKnown: false })
  assert.equal(ask(), 'invalid_token')
  assert.equal(ask(), 'invalid_token')
})

test('a subject that is refused does not use up what its client has', () => {
  const ask = asking(
    limited(
      'orders',
      { by: 'client', rate: 0.001, burst: 2 },
      { by: 'subject', rate: 0.001, burst: 1 },
    ),
  )
  assert.equal(ask({ client: 'spa', subject: 'alice' }), undefined)
  for (let count = 0; count < 5; count++) {
    assert.equal(ask({ client: 'spa', subject: 'alice' }), 'rate_limited')
  }
  assert.equal(ask({ client: 'spa', subject: 'bob' }), undefined)
})

test('a subject and a client of one name are two', () => {
  const slow = { rate: 0.001, burst: 1 }
  const ask = asking(limited('orders', { by: 'client', ...slow }, { by: 'subject', ...slow }))
  assert.equal(ask({ client: 'spa', subject: 'spa' }), undefined)
})

test('each replica counts its share', (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const ask = asking(limited('orders', { by: 'subject', rate: 4, burst: 4 }), { processes: 2 })
  assert.deepEqual([ask(), ask(), ask()], [undefined, undefined, 'rate_limited'])
  t.mock.timers.tick(500)
  assert.deepEqual([ask(), ask()], [undefined, 'rate_limited'])
})

test('where no route counts, nothing stands before authentication', () => {
  const authenticate: Authenticate = () => subject()
  const options = { routes: [route()], processes: 1, shed: () => undefined }
  assert.equal(rateLimited(authenticate, options), authenticate)
})

test('who comes too often is told 429, and when to come again', async (t) => {
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const rates = [{ by: 'subject', rate: 0.01, burst: 2 }]
  const gateway = await startGateway(
    t,
    oneRoute({ issuer: issuer.url, upstream: upstream.origin, proxy: { limits: { rates } } }),
  )
  const ask = async (sub: string): Promise<Response> =>
    fetch(`${gateway.origin}/orders`, bearer(await issuer.token({ sub })))
  assert.equal((await ask('alice')).status, 200)
  assert.equal((await ask('alice')).status, 200)
  const refused = await ask('alice')
  assert.equal(refused.status, 429)
  assert.equal(((await refused.json()) as { code: string }).code, 'rate_limited')
  const retryAfter = Number(refused.headers.get('retry-after'))
  assert.ok(retryAfter > 90 && retryAfter <= 100, String(retryAfter))
  assert.equal((await ask('bob')).status, 200)
  assert.equal(upstream.received.length, 3)
  assert.match(gateway.metrics.render(), /^behalf_shed_total\{reason="rate_subject"\} 1$/m)
})
