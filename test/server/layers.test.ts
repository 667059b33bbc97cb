import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import fc from 'fast-check'
import { authorize, type Permit } from '../../src/authorize/authorize.ts'
import type { Config } from '../../src/config/config.ts'
import { type ErrorCode, GatewayError } from '../../src/errors.ts'
import type { Ask, Exchange } from '../../src/exchange/exchange.ts'
import type { IssuedToken } from '../../src/exchange/issued.ts'
import { createMetrics } from '../../src/metrics.ts'
import { type Layers, layered } from '../../src/server/layers.ts'
import { api, ask, issuedToken, issuer, route, subject } from '../support.ts'

const NOW = 1_800_000_000_000
const SECOND = 1_000
const RATE = 8
const USERS = 6
const AUDIENCES = ['a', 'b', 'c']

/** One issuer with a budget, an API, and a route to each audience. */
const TENANT = issuer({ budget: { rate: RATE, burst: 1 } })
const STOREFRONT = api({ issuer: TENANT })
const ROUTES = AUDIENCES.map((audience) =>
  route({
    name: audience,
    authenticate: { apis: [STOREFRONT] },
    exchange: { audience, maxAgeMs: 60 * SECOND },
  }),
)

function config(maxEntries: number): Config {
  return {
    issuers: [TENANT],
    apis: [STOREFRONT],
    routes: ROUTES,
    cache: { maxEntries, maxBytes: 1_000_000 },
    server: { replicas: 1, workers: 1 },
  } as unknown as Config
}

interface Sent {
  readonly at: number
  readonly user: string
  readonly audience: string
  readonly background: boolean
}

/** What the issuer does with what is sent to it, until a step says otherwise. */
type Weather = ErrorCode | 'fair' | 'slow'

interface World {
  readonly layers: Layers
  readonly sent: Sent[]
  weather: Weather
}

function world(wrong?: (permit: Permit) => Permit): World {
  const sent: Sent[] = []
  const all: { weather: Weather } = { weather: 'fair' }
  const exchange: Exchange = async (given, { background, signal }) => {
    signal.throwIfAborted()
    const { subject: user, route: to } = given
    const audience = String(to.exchange.audience)
    const at = Date.now()
    const number = sent.push({
      at,
      user: user.subject,
      audience,
      background: background ?? false,
    })
    const { weather } = all
    if (weather === 'slow') await new Promise((resolve) => setTimeout(resolve, 700))
    else if (weather !== 'fair') throw new GatewayError(weather, 'no', { retryAfter: 1 })
    return issuedToken({
      value: `${user.subject} ${audience} ${number}`,
      expiresAt: at + 40 * SECOND,
    })
  }
  const { exchange: inner, ...rest } = layered(exchange, config(8), {
    maxBytes: 1_000_000,
    metrics: createMetrics(),
  })
  const outer: Exchange = wrong === undefined ? inner : (given, own) => inner(wrong(given), own)
  return Object.assign(all, { layers: { exchange: outer, ...rest }, sent })
}

function holder(user: number, audience: number): Permit {
  const name = `user${user}`
  const made = subject({
    value: `token of ${name}`,
    subject: name,
    api: STOREFRONT,
    digest: `digest of ${name}`,
    expiresAt: NOW + 3_600 * SECOND,
  })
  return authorize(made, ROUTES[audience]!)
}

const request = fc.record({
  kind: fc.constant('request' as const),
  user: fc.nat(USERS - 1),
  audience: fc.nat(AUDIENCES.length - 1),
  /** When the caller leaves, in milliseconds. */
  leaves: fc.option(fc.nat(900), { freq: 4 }),
  /** Whether the upstream refuses the first token. */
  refused: fc.boolean(),
})
const pass = fc.record({
  kind: fc.constant('pass' as const),
  ms: fc.oneof(fc.nat(400), fc.nat(60_000)),
})
const weather = fc.record({
  kind: fc.constant('weather' as const),
  weather: fc.constantFrom<Weather>(
    'fair',
    'fair',
    'slow',
    'exchange_unavailable',
    'exchange_misconfigured',
    'exchange_denied',
  ),
})
const purge = fc.record({ kind: fc.constant('purge' as const), user: fc.nat(USERS - 1) })
const step = fc.oneof(
  { weight: 12, arbitrary: request },
  { weight: 5, arbitrary: pass },
  { weight: 2, arbitrary: weather },
  { weight: 1, arbitrary: purge },
)
type Step = typeof step extends fc.Arbitrary<infer One> ? One : never

test('whatever comes, leaves, fails, expires, is evicted, renewed and purged: each has its own', async (context) => {
  let requests = 0
  let exchanges = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80 }), async (steps) => {
      const { sent } = await play(context, steps)
      requests += steps.filter(({ kind }) => kind === 'request').length
      exchanges += sent.length
    }),
    { numRuns: 120 },
  )
  context.diagnostic(`${requests} requests, ${exchanges} exchanges`)
})

test('the same steps find out where a key forgets the user', async (context) => {
  const forgetful = ({ subject: user, route: to }: Permit): Permit =>
    authorize({ ...user, digest: 'digest of anybody' }, to)
  await assert.rejects(
    fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80 }), async (steps) => {
        await play(context, steps, forgetful)
      }),
      { numRuns: 50, endOnFailure: true },
    ),
    (error: Error) => String(error.cause).includes("another's token"),
  )
})

/** Plays the steps in a time that is moved by hand, and then lets everything come to its end. */
async function play(
  context: TestContext,
  steps: readonly Step[],
  wrong?: (permit: Permit) => Permit,
): Promise<World> {
  context.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: NOW })
  try {
    const all = world(wrong)
    const callers: Promise<void>[] = []
    const purgedAt = new Map<string, number>()
    for (const one of steps) {
      if (one.kind === 'weather') all.weather = one.weather
      else if (one.kind === 'pass') await advance(context, one.ms)
      else if (one.kind === 'purge') {
        all.layers.purge({ subject: `user${one.user}` })
        purgedAt.set(`user${one.user}`, all.sent.length)
      } else callers.push(visit(all, one, purgedAt))
    }
    await advance(context, 12_000)
    const ends = await Promise.race([Promise.all(callers), stuck()])
    assert.ok(ends !== 'stuck', 'somebody still waits')
    assertPaced(all.sent)
    return all
  } finally {
    context.mock.timers.reset()
  }
}

/** A request, and what its upstream says; it checks whatever it is given. */
async function visit(
  all: World,
  { user, audience, leaves, refused }: Extract<Step, { kind: 'request' }>,
  purgedAt: ReadonlyMap<string, number>,
): Promise<void> {
  const controller = new AbortController()
  const left = new Error('the caller left')
  if (leaves !== null) setTimeout(() => controller.abort(left), leaves)
  const own = (instead?: IssuedToken): Ask => {
    const deadline = Date.now() + 5 * SECOND
    return ask({ signal: controller.signal, deadline, instead })
  }
  try {
    const oldest = purgedAt.get(`user${user}`) ?? 0
    const token = await all.layers.exchange(holder(user, audience), own())
    assertOwn(token, user, audience, oldest)
    if (!refused) return
    const next = await all.layers.exchange(holder(user, audience), own(token))
    assertOwn(next, user, audience, oldest)
    assert.notEqual(next.value, token.value)
  } catch (error) {
    if (error === left) return
    assert.ok(error instanceof GatewayError, String(error))
    assert.notEqual(error.code, 'internal_error')
  }
}

function assertOwn(token: IssuedToken, user: number, audience: number, oldest: number): void {
  const [subjectOf, audienceOf, number] = token.value.split(' ')
  assert.equal(
    `${subjectOf} ${audienceOf}`,
    `user${user} ${AUDIENCES[audience]}`,
    "another's token",
  )
  assert.ok(Number(number) > oldest, 'older than a purge')
  assert.ok(token.expiresAt > Date.now(), 'it has expired')
}

/** No more leaves than the budget has; a late timer's turn is made up for. */
function assertPaced(sent: readonly Sent[]): void {
  for (let from = 0; from < sent.length; from++) {
    const within = sent.slice(from).filter(({ at }) => at <= sent[from]!.at + 10 * SECOND)
    assert.ok(within.length <= 10 * RATE + 3, `${within.length} in ten seconds`)
  }
}

async function advance(context: TestContext, ms: number): Promise<void> {
  // In coarse steps where nothing is so close that it would matter.
  for (let at = 0; at < ms;) {
    const by = Math.min(ms - at, ms > 2_000 ? 125 : 5)
    context.mock.timers.tick(by)
    at += by
    for (let turn = 0; turn < 12; turn++) await Promise.resolve()
  }
}

/** Every promise that can be settled is by then. */
async function stuck(): Promise<'stuck'> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  return 'stuck'
}
