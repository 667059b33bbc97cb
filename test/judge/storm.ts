import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTenant, type Tenant } from '../../src/tenant/index.ts'
import { NO_REDIS, startRedis } from '../redis.ts'
import { oneRoute, startGateway, startUpstream, type Scope } from '../system.ts'
import { openCallers, type Answered, type Ask } from './callers.ts'
import { Faults, type Finding, type Load } from './load.ts'
import { startReplica } from './replicas.ts'

export interface StormSize {
  /** Gateways that share Redis, each in a process of its own. 1: one in this process, without Redis. */
  readonly processes?: number
  /** Each comes once, a third of them at once and the others evenly over the time. */
  readonly users: number
  readonly forMs: number
  /** What of the budget must be used in that time: less where others use the machine. */
  readonly used: number
  /** Of those who come back when told, and were told less than a minute. Default 0.95. */
  readonly served?: number
}

export const storm: Load = {
  name: 'storm',
  claim:
    'a tenant of eight exchanges a second is used up, never overrun, and who waits is told truly',
  limitMs: 6 * 60_000,
  judge: (scope, _seed, { processes = 1 } = {}) => judgeStorm(scope, { ...FULL, processes }),
}

export const replicatedStorm: Load = {
  name: 'replicated-storm',
  claim: 'the same over four processes that share the budget, and who comes back comes to another',
  limitMs: 6 * 60_000,
  judge: (scope) => judgeStorm(scope, { ...FULL, processes: 4 }),
}

const FULL = { users: 10_000, forMs: 60_000, used: 0.95 }

const RATE = 8
const BURST = 8
const LONGEST_RETRY_AFTER_SECONDS = 60
const CALLERS = 400

/** Distinct users at a tenant that limits, in wall time. Who is told to come back does, once. */
export async function judgeStorm(
  scope: Scope,
  { processes = 1, users, forMs, used, served = 0.95 }: StormSize,
): Promise<Finding> {
  const tenant = await createTenant({ limit: { rate: RATE, burst: BURST } })
  scope.after(() => tenant.close())
  const origins = await startGateways(scope, tenant, processes)
  const asks = await Promise.all(
    origins.map((origin) => openCallers(scope, origin, Math.ceil(CALLERS / processes))),
  )
  // Each request goes to the next one, also that of a caller who comes back.
  let turn = 0
  const ask: Ask = (path, asking) => asks[turn++ % asks.length]!(path, asking)
  const tokens = await tokensOf(tenant, users)

  const crowd = new Crowd(ask)
  const before = tenant.limited().allowed
  const startedAt = performance.now()
  const coming = tokens.map(async (token, at) => {
    const third = Math.ceil(users / 3)
    const after = at < third ? 0 : ((at - third) / (users - third)) * forMs * 0.95
    await sleep(after)
    await crowd.come(token)
  })
  await sleep(forMs - (performance.now() - startedAt))
  const inTime = tenant.limited().allowed - before
  await Promise.all(coming)

  const { faults } = crowd
  const least = Math.floor((forMs / 1_000) * RATE * used)
  if (inTime < least) faults.add(`${inTime} exchanges in ${forMs} ms: at least ${least} expected`)
  faults.unless(tenant.limited().refused, 0, 'answers 429 of the tenant')
  const { came, served: servedThen } = crowd.back
  if (servedThen < came * served) {
    faults.add(`only ${servedThen} of ${came} who came back were served`)
  }
  return {
    counts: {
      users,
      processes,
      [`exchanges in the first ${forMs / 1_000} s`]: inTime,
      'exchanges in all': tenant.limited().allowed - before,
      'answers 429 of the tenant': tenant.limited().refused,
      'served at once': crowd.served,
      'told a time below a minute': crowd.told,
      'told a minute': crowd.toldMinute,
      'came back when told': came,
      'of these served': servedThen,
      'longest wait of one who was shed, ms': Math.round(crowd.longestVainMs),
    },
    faults: faults.told,
  }
}

const CLIENT = { id: 'storefront-gateway', secret: 'demo-only-storefront-client-secret-0001' }
const BUDGET = { rate: RATE, burst: 1 }

/** @throws {Error} where there are to be several, and there is no redis-server */
async function startGateways(
  scope: Scope,
  { url }: Tenant,
  processes: number,
): Promise<readonly string[]> {
  if (processes === 1) {
    const upstream = await startUpstream(scope)
    const gateway = await startGateway(scope, {
      ...oneRoute({ issuer: url, upstream: upstream.origin, client: CLIENT }),
      issuers: { tenant: { issuer: url, profile: 'auth0', budget: BUDGET } },
    })
    return [gateway.origin]
  }
  if (NO_REDIS !== false) throw new Error(NO_REDIS)
  const redis = await startRedis(scope)
  const setting = {
    ...{ issuer: url, profile: 'auth0', client: CLIENT, budget: BUDGET, replicas: processes },
    redis: { url: redis.url, sealingKeys: [randomBytes(32).toString('base64')] },
  }
  const replicas = await Promise.all(
    Array.from({ length: processes }, () => startReplica(scope, setting)),
  )
  return replicas.map(({ origin }) => origin)
}

async function tokensOf(tenant: Tenant, users: number): Promise<readonly string[]> {
  const tokens: string[] = []
  for (let at = 0; at < users; at++) {
    const user = `storm-${at}`
    tenant.addUser(user)
    const scope = 'read:orders'
    tokens.push(await tenant.token({ user, audience: 'https://storefront.example', scope }))
  }
  return tokens
}

class Crowd {
  readonly faults = new Faults()
  readonly back = { came: 0, served: 0 }
  served = 0
  told = 0
  toldMinute = 0
  longestVainMs = 0
  readonly #ask: Ask

  constructor(ask: Ask) {
    this.#ask = ask
  }

  async come(token: string): Promise<void> {
    const first = await this.#request(token)
    if (first.status === 200) {
      this.served++
      return
    }
    const seconds = Number(first.retryAfter)
    if (!this.#isTrue(first, seconds)) return
    if (seconds >= LONGEST_RETRY_AFTER_SECONDS) {
      this.toldMinute++
      return
    }
    this.told++
    await sleep(seconds * 1_000)
    this.back.came++
    const second = await this.#request(token)
    if (second.status === 200) this.back.served++
  }

  async #request(token: string): Promise<Answered> {
    const askedAt = performance.now()
    const answer = await this.#ask('/orders', { token })
    if (answer.status !== 200) {
      this.longestVainMs = Math.max(this.longestVainMs, performance.now() - askedAt)
    }
    return answer
  }

  #isTrue({ status, text }: Answered, seconds: number): boolean {
    const told =
      status === 503 &&
      text.includes('"exchange_unavailable"') &&
      Number.isInteger(seconds) &&
      seconds >= 1 &&
      seconds <= LONGEST_RETRY_AFTER_SECONDS
    if (!told) this.faults.add(`${status} with Retry-After ${seconds}: ${text}`)
    return told
  }
}
