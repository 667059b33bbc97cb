import { isDeepStrictEqual } from 'node:util'
import type { Cast } from './cast.ts'
import type { Screen } from './screen.ts'
import { claimsOf, type Service } from './service.ts'

/** A step of the walk had another result than expected. */
export class StepFailed extends Error {
  override readonly name = 'StepFailed'
}

/**
 * Walks the path in front of the reader. It shows what the tenant answered and what the services received. A step fails if
 * these are not as expected.
 *
 * @throws {StepFailed} names the first step that failed
 */
export async function walk(cast: Cast, screen: Screen): Promise<void> {
  const steps = createSteps(screen)
  await steps.play('The tenant was empty: what the routes need was planned, and made', () =>
    provisioned(cast, screen),
  )
  const alice = await steps.play('Alice logs in: her token is for the storefront API', () =>
    logIn(cast, screen, 'alice', 'wonderland'),
  )
  const issued = await steps.play(
    'She asks for her orders, and the gateway exchanges her token',
    () => exchanged(cast, screen, alice),
  )
  await steps.play('The same request again is answered from the cache', () =>
    fromTheCache(cast, screen, alice, issued),
  )
  await steps.play('A token for another audience is refused', () =>
    wrongAudience(cast, screen, issued),
  )
  await steps.play('A token without the scope of the route is refused', () =>
    missingScope(cast, screen),
  )
}

interface Steps {
  play<Value>(title: string, act: () => Promise<Value>): Promise<Value>
}

function createSteps(screen: Screen): Steps {
  let number = 0
  return {
    async play(title, act) {
      screen.step(++number, title)
      try {
        return await act()
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause)
        throw new StepFailed(`step ${number} did not hold (${title}): ${reason}`, { cause })
      }
    },
  }
}

/** Shows how the tenant was set up, as `behalf provision` does it. */
function provisioned({ setUp, tenant }: Cast, screen: Screen): Promise<void> {
  const { plan, calls, milliseconds, again } = setUp
  const made = plan.steps.filter(({ action }) => action === 'create')
  hold('what the plan creates', made.length, plan.steps.length)
  hold('calls', calls, plan.steps.length)
  hold('what is left', again.steps.filter(({ action }) => action !== 'unchanged').length, 0)
  hold('grants of the tenant', tenant.state.clientGrants.size, GRANTS)
  screen.good(`behalf provision   ${made.length} to create`, plan.milliseconds)
  for (const { kind, name } of made) screen.note(`  + ${kind} ${name}`)
  screen.good('behalf provision --apply', milliseconds)
  screen.good('behalf provision   nothing is to be done', again.milliseconds)
  return Promise.resolve()
}

/** One for each API and audience of the demonstration's routes. */
const GRANTS = 3

async function logIn(
  { tenant }: Cast,
  screen: Screen,
  username: string,
  password: string,
): Promise<string> {
  const { status, body, milliseconds } = await call(`${tenant.url}oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'password',
      client_id: 'spa',
      username,
      password,
      audience: 'https://storefront.example',
    }),
  })
  hold('status', status, 200)
  const token = String(body['access_token'])
  const claims = claimsOf(token)
  hold('aud', claims['aud'], 'https://storefront.example')
  hold('sub', claims['sub'], `auth0|${username}`)
  screen.good(`POST /oauth/token   grant_type=password, as ${username}`, milliseconds)
  screen.table(rowsOf(claims, ['aud', 'sub', 'scope', 'azp']))
  return token
}

/** @returns the token that the service received */
async function exchanged(cast: Cast, screen: Screen, alice: string): Promise<string> {
  const { tenant, orders, setUp } = cast
  const before = tenant.exchanges()
  const { token, claims, milliseconds } = await served(cast, orders, '/orders', alice)
  hold('exchanges', tenant.exchanges() - before, 1)
  hold('the token was replaced', token !== alice, true)
  const { aud, sub, scope, act } = claims
  hold(
    'what the service received',
    { aud, sub, scope, act },
    {
      aud: 'https://orders.internal',
      sub: 'auth0|alice',
      scope: 'orders:read',
      act: { sub: setUp.variables['STOREFRONT_CLIENT_ID'], act: { sub: 'spa' } },
    },
  )
  screen.good('GET /orders   200', milliseconds)
  screen.good('the tenant was asked for one exchange')
  screen.good('the orders service received another token than Alice sent:')
  screen.table(rowsOf(claims, ['aud', 'sub', 'scope', 'act']))
  return token
}

async function fromTheCache(
  cast: Cast,
  screen: Screen,
  alice: string,
  issued: string,
): Promise<void> {
  const { tenant, orders } = cast
  const before = tenant.exchanges()
  const { token, milliseconds } = await served(cast, orders, '/orders', alice)
  hold('exchanges', tenant.exchanges() - before, 0)
  hold('the service received the same token', token === issued, true)
  screen.good('GET /orders   200', milliseconds)
  const took: number[] = []
  while (took.length < REPETITIONS) {
    const again = await served(cast, orders, '/orders', alice)
    hold('the service received the same token', again.token === issued, true)
    took.push(again.milliseconds)
  }
  hold('exchanges', tenant.exchanges() - before, 0)
  screen.good(`${REPETITIONS} times more; the median:`, medianOf(took))
  screen.good('the tenant was not asked; the service received the same token each time')
}

const REPETITIONS = 100

function medianOf(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? 0
}

async function wrongAudience(cast: Cast, screen: Screen, issued: string): Promise<void> {
  screen.note('The token that the orders service received, sent to the gateway: well')
  screen.note(`signed and not expired, but for ${String(claimsOf(issued)['aud'])}.`)
  await refused(cast, screen, issued, 401, 'invalid_token')
}

async function missingScope(cast: Cast, screen: Screen): Promise<void> {
  const bob = await logIn(cast, screen, 'bob', 'builder')
  await refused(cast, screen, bob, 403, 'insufficient_scope')
  const { claims, milliseconds } = await served(cast, cast.inventory, '/inventory', bob)
  hold('sub', claims['sub'], 'auth0|bob')
  hold('aud', claims['aud'], 'https://inventory.internal')
  screen.good('GET /inventory   200: what he may see, he sees', milliseconds)
}

interface Served {
  readonly token: string
  readonly claims: Readonly<Record<string, unknown>>
  readonly milliseconds: number
}

/** Sends a request that must reach the service once, and must be answered by it. */
async function served(
  { gateway }: Cast,
  service: Service,
  path: string,
  token: string,
): Promise<Served> {
  const before = service.received.length
  const { status, body, milliseconds } = await call(gateway.origin + path, bearer(token))
  hold('status', status, 200)
  hold('requests that reached the service', service.received.length - before, 1)
  const received = service.received.at(-1)
  hold('what the service answered', body['token'], received?.claims)
  return { token: received?.token ?? '', claims: received?.claims ?? {}, milliseconds }
}

/** Sends a request for the orders that must fail with this code, and reach neither the tenant nor the service. */
async function refused(
  { gateway, tenant, orders }: Cast,
  screen: Screen,
  token: string,
  status: number,
  code: string,
): Promise<void> {
  const before = [tenant.exchanges(), orders.received.length]
  const answer = await call(`${gateway.origin}/orders`, bearer(token))
  const challenge = answer.headers.get('www-authenticate') ?? ''
  hold('status and code', [answer.status, answer.body['code']], [status, code])
  hold('the challenge names the error', challenge.includes(`error="${code}"`), true)
  hold('exchanges and requests', [tenant.exchanges(), orders.received.length], before)
  screen.good(`GET /orders   ${status} ${code}`, answer.milliseconds)
  screen.table([
    ['detail', String(answer.body['detail'])],
    ...challenge
      .replace(/^Bearer /, '')
      .split(', ')
      .map((part, index) => [index === 0 ? 'challenge' : '', part] as const),
  ])
  screen.good('neither the tenant nor the orders service heard of it')
}

function bearer(token: string): RequestInit {
  return { headers: { authorization: `Bearer ${token}` } }
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>>
  /** From the request to the last byte of its answer. */
  readonly milliseconds: number
}

const PATIENCE_MS = 10_000

async function call(url: string, init: RequestInit): Promise<Answer> {
  const startedAt = performance.now()
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(PATIENCE_MS) })
  const text = await response.text()
  const milliseconds = performance.now() - startedAt
  const body = JSON.parse(text) as Record<string, unknown>
  return { status: response.status, headers: response.headers, body, milliseconds }
}

function rowsOf(
  claims: Readonly<Record<string, unknown>>,
  names: readonly string[],
): readonly (readonly [string, string])[] {
  return names.map((name) => {
    const value = claims[name]
    return [name, typeof value === 'string' ? value : JSON.stringify(value)]
  })
}

/** @throws {Error} unless they are equal in every part */
function hold(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return
  throw new Error(`${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`)
}
