import type { SubjectToken } from '../../src/authenticate/authenticate.ts'
import { authorize, type Permit } from '../../src/authorize/authorize.ts'
import type { Config, Route } from '../../src/config/config.ts'
import { type ErrorCode, GatewayError } from '../../src/errors.ts'
import type { Exchange } from '../../src/exchange/exchange.ts'
import type { IssuedToken } from '../../src/exchange/issued.ts'
import { createMetrics } from '../../src/metrics.ts'
import { type Layers, layered } from '../../src/server/layers.ts'
import { api, IDENTIFIER, issuedToken, issuer, route, subject } from '../support.ts'
import { Faults, type Finding, type Load } from './load.ts'
import { random, type Random } from './random.ts'

export interface LayersSize {
  readonly requests: number
  readonly users: number
  readonly audiences: number
  readonly cacheEntries: number
}

export const layers: Load = {
  name: 'layers',
  claim: 'of a million requests through the layers of the exchange none meets the token of another',
  limitMs: 10 * 60_000,
  judge: (_scope, seed) =>
    judgeLayers({ requests: 1_000_000, users: 10_000, audiences: 20, cacheEntries: 20_000 }, seed),
}

const CALLERS = 500
/** So few requests are enough to see that a key that forgets the user is found out. */
const OF_DEFECT = 5_000

/**
 * The layers by themselves, around an issuer that is a function: random users, audiences, refreshed tokens, expiry,
 * eviction, aborts, refusals, outages, purges and tokens that upstreams refuse. Then the same with a defect in the key.
 */
export async function judgeLayers(size: LayersSize, seed: number): Promise<Finding> {
  const crowd = new Crowd(size, seed, (permit) => permit)
  await crowd.run(size.requests)
  const { faults, tally } = crowd
  for (const what of EXPECTED) {
    if (!tally.has(what)) faults.add(`the load had no ${what} in it`)
  }

  const defective = new Crowd(size, seed, forgetful)
  await defective.run(OF_DEFECT)
  const found = defective.met
  if (found === 0) faults.add('the load does not find a key that forgets the user')
  const counts = [...tally].sort(([one], [other]) => (one < other ? -1 : 1))
  return {
    counts: {
      requests: size.requests,
      ...Object.fromEntries(counts),
      'met the token of another': crowd.met,
      'the same with a defect in the key': `${found} of ${OF_DEFECT}`,
    },
    faults: faults.told,
  }
}

const EXPECTED = ['hit', 'joined', 'miss', 'refused', 'renewed', 'left', 'replaced', 'purged']

/** A key that says of every user the same. */
function forgetful({ subject: one, route: to }: Permit): Permit {
  const { sub: _, ...claims } = one.claims
  return authorize({ ...one, digest: 'anybody', claims }, to)
}

class Crowd {
  readonly faults = new Faults()
  readonly tally = new Map<string, number>()
  met = 0
  readonly #size: LayersSize
  readonly #seed: number
  readonly #keyOf: (permit: Permit) => Permit
  readonly #layers: Layers
  readonly #routes: readonly Route[]
  readonly #subjects: readonly SubjectToken[]
  #issued = 0

  constructor(size: LayersSize, seed: number, keyOf: (permit: Permit) => Permit) {
    this.#size = size
    this.#seed = seed
    this.#keyOf = keyOf
    const tenant = issuer()
    const storefront = api({ issuer: tenant })
    this.#routes = Array.from({ length: size.audiences }, (_, at) =>
      route({
        name: `route ${at}`,
        authenticate: { apis: [storefront] },
        exchange: { audience: `audience${at}`, key: at % 2 === 0 ? 'token' : 'context' },
      }),
    )
    // Each user twice: with a token, and with the one that it was refreshed to.
    this.#subjects = Array.from({ length: size.users * 2 }, (_, at) => {
      const name = `user${at >> 1}`
      const claims = { iss: IDENTIFIER, sub: name, jti: String(at) }
      return subject({ value: `token ${at}`, subject: name, claims, api: storefront })
    })
    this.#layers = layered(
      (permit, ask) => this.#exchange(permit, ask),
      {
        issuers: [tenant],
        apis: [storefront],
        routes: this.#routes,
        cache: { maxEntries: size.cacheEntries, maxBytes: 256 * 1024 * 1024 },
        server: { replicas: 1 },
      } as unknown as Config,
      { maxBytes: 256 * 1024 * 1024, metrics: createMetrics() },
    )
  }

  async run(requests: number): Promise<void> {
    let next = 0
    const caller = async (): Promise<void> => {
      while (next < requests) await this.#request(random(this.#seed, next++))
    }
    await Promise.all(Array.from({ length: CALLERS }, caller))
  }

  readonly #exchange: Exchange = async ({ subject: user, route: to }) => {
    const number = this.#issued++
    const chance = random(~this.#seed, number)
    await new Promise((resolve) => setImmediate(resolve))
    for (const [code, times] of WEATHER) {
      if (chance.oneIn(times)) throw new GatewayError(code, 'no', { retryAfter: 1 })
    }
    const expiresAt = Date.now() + 1 + chance.below(3_000)
    const value = `${user.subject} ${String(to.exchange.audience)} ${number}`
    return issuedToken({ value, expiresAt })
  }

  async #request(chance: Random): Promise<void> {
    const to = this.#routes[chance.below(this.#routes.length)]!
    // Half of all requests are of a few users.
    const { users } = this.#size
    const user = chance.oneIn(2) ? chance.below(Math.ceil(users / 200)) : chance.below(users)
    const permit = authorize(this.#subjects[user * 2 + chance.below(2)]!, to)
    if (chance.oneIn(5_000)) {
      this.#layers.purge({ subject: permit.subject.subject })
      this.#count('purged')
    }
    const controller = new AbortController()
    if (chance.oneIn(20)) setImmediate(() => controller.abort(new Error('left')))
    const token = await this.#ask(permit, controller.signal, undefined)
    if (token === undefined || !chance.oneIn(200)) return
    const other = await this.#ask(permit, controller.signal, token)
    if (other !== undefined) this.#count('replaced')
    if (other?.value === token.value) this.faults.add('the token that was refused came again')
  }

  async #ask(
    permit: Permit,
    signal: AbortSignal,
    instead: IssuedToken | undefined,
  ): Promise<IssuedToken | undefined> {
    const ask = { signal, deadline: Date.now() + 5_000, instead, outcome: undefined }
    let token: IssuedToken
    try {
      token = await this.#layers.exchange(this.#keyOf(permit), ask)
    } catch (error) {
      this.#failed(error, ask.outcome, signal)
      return undefined
    }
    this.#count(String(ask.outcome))
    const own = `${permit.subject.subject} ${String(permit.route.exchange.audience)} `
    if (!token.value.startsWith(own)) {
      this.met++
      this.faults.add(`${own}met ${token.value}`)
    }
    return token
  }

  #failed(error: unknown, outcome: string | undefined, signal: AbortSignal): void {
    if (signal.aborted && error === signal.reason) this.#count('left')
    else if (!(error instanceof GatewayError)) this.faults.add(String(error))
    else this.#count(outcome === 'refused' ? 'refused' : error.code)
  }

  #count(what: string): void {
    this.tally.set(what, (this.tally.get(what) ?? 0) + 1)
  }
}

/** What becomes of an exchange: each once in so many times. */
const WEATHER = [
  ['exchange_unavailable', 50],
  ['exchange_denied', 100],
  ['exchange_misconfigured', 50_000],
] as const satisfies readonly (readonly [ErrorCode, number])[]
