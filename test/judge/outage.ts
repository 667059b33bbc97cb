import { setTimeout as sleep } from 'node:timers/promises'
import { startIssuer, type TestIssuer } from '../issuer.ts'
import { oneRoute, startGateway, startUpstream, type Scope } from '../system.ts'
import { openCallers, type Answered, type Ask } from './callers.ts'
import { Faults, within, type Finding, type Load } from './load.ts'

export interface OutageSize {
  /** Users whose tokens are kept before the issuer goes. */
  readonly cached: number
  readonly outages: number
  /** How many requests of cached users are answered, at least, before, during and after each outage. */
  readonly requests: number
  /** The same of users that nobody has seen before. */
  readonly newcomers: number
}

export const outage: Load = {
  name: 'outage',
  claim: 'with the issuer dead, cached users notice nothing, and new ones are told when to return',
  limitMs: 5 * 60_000,
  judge: (scope) =>
    judgeOutage(scope, { cached: 200, outages: 5, requests: 3_000, newcomers: 300 }),
}

/**
 * A load that never stops, while an issuer is killed and started again on its port. Each phase lasts until enough
 * requests were sent and answered within it, however fast the machine is.
 */
export async function judgeOutage(scope: Scope, size: OutageSize): Promise<Finding> {
  const issuer = await startIssuer(scope)
  const upstream = await startUpstream(scope)
  const gateway = await startGateway(
    scope,
    oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
  )
  const ask = await openCallers(scope, gateway.origin, CACHED_CALLERS + NEW_CALLERS)
  const tokens = await Promise.all(
    Array.from({ length: size.cached }, (_, n) => issuer.token({ sub: `cached-${n}` })),
  )
  await Promise.all(tokens.map((token) => ask('/orders', { token })))

  const crowd = new Crowd(issuer, ask, tokens, size)
  const { port } = new URL(issuer.url)
  let alive = issuer
  const working = crowd.work()
  await crowd.enough()
  for (let time = 0; time < size.outages; time++) {
    await crowd.change('dead', () => alive.kill())
    await crowd.enough()
    await crowd.change('alive', async () => (alive = await startIssuer(scope, Number(port))))
    await crowd.enough()
  }
  crowd.stop()
  await working
  await crowd.returnRefused()
  return crowd.finding()
}

const CACHED_CALLERS = 16
const NEW_CALLERS = 8
const LONGEST_PHASE_MS = 60_000

/** What the issuer was for the whole time that a request took; `changing` where that is not one thing. */
type Phase = 'alive' | 'dead' | 'changing'
type Who = 'cached' | 'new'

class Crowd {
  readonly #issuer: TestIssuer
  readonly #ask: Ask
  readonly #tokens: readonly string[]
  readonly #size: OutageSize
  readonly #faults = new Faults()
  readonly #tally = new Map<string, number>()
  readonly #refused: string[] = []
  #phase: { readonly is: Phase; cached: number; new: number } = { is: 'alive', cached: 0, new: 0 }
  #users = 0
  #stopped = false

  constructor(issuer: TestIssuer, ask: Ask, tokens: readonly string[], size: OutageSize) {
    this.#issuer = issuer
    this.#ask = ask
    this.#tokens = tokens
    this.#size = size
  }

  /** Until it is stopped. */
  async work(): Promise<void> {
    const callers = [
      ...Array.from({ length: CACHED_CALLERS }, (_, n) => this.#comeAsCached(n)),
      ...Array.from({ length: NEW_CALLERS }, () => this.#comeAsNew()),
    ]
    await Promise.all(callers)
  }

  stop(): void {
    this.#stopped = true
  }

  /** Waits until this phase has seen what it is to see. */
  async enough(): Promise<void> {
    const { requests, newcomers } = this.#size
    const phase = this.#phase
    const startedAt = performance.now()
    while (phase.cached < requests || phase.new < newcomers) {
      if (performance.now() - startedAt > LONGEST_PHASE_MS) {
        throw new Error(`only ${phase.cached} cached and ${phase.new} new users while ${phase.is}`)
      }
      await sleep(5)
    }
  }

  async change(to: Phase, make: () => Promise<unknown>): Promise<void> {
    this.#phase = { is: 'changing', cached: 0, new: 0 }
    await within(LONGEST_PHASE_MS, `the change to ${to}`, make())
    this.#phase = { is: to, cached: 0, new: 0 }
  }

  async #comeAsCached(caller: number): Promise<void> {
    for (let turn = caller; !this.#stopped; turn += CACHED_CALLERS) {
      await this.#come('cached', this.#tokens[turn % this.#tokens.length]!)
    }
  }

  async #comeAsNew(): Promise<void> {
    while (!this.#stopped) {
      await this.#come('new', await this.#issuer.token({ sub: `new-${this.#users++}` }))
    }
  }

  async #come(who: Who, token: string): Promise<void> {
    const phase = this.#phase
    const answer = await this.#ask('/orders', { token })
    const is = phase === this.#phase ? phase.is : 'changing'
    phase[who]++
    const what = `${who} users, issuer ${is}: ${answer.status}`
    this.#tally.set(what, (this.#tally.get(what) ?? 0) + 1)
    if (!isRight(who, is, answer)) this.#faults.add(`${what} ${answer.text}`)
    if (who === 'new' && answer.status === 503) this.#refused.push(token)
  }

  /** Everyone who was told to come back is served then. */
  async returnRefused(): Promise<void> {
    await sleep(RETRY_AFTER_SECONDS * 1_000)
    let served = 0
    for (const token of this.#refused) {
      const { status } = await this.#ask('/orders', { token })
      if (status === 200) served++
    }
    this.#faults.unless(served, this.#refused.length, 'served of those who came back')
    this.#tally.set('new users, on their return: 200', served)
  }

  finding(): Finding {
    const counts = [...this.#tally].sort(([one], [other]) => (one < other ? -1 : 1))
    return { counts: Object.fromEntries(counts), faults: this.#faults.told }
  }
}

/** What the gateway says where it knows no better. */
const RETRY_AFTER_SECONDS = 1

function isRight(who: Who, phase: Phase, { status, retryAfter, text }: Answered): boolean {
  const served = status === 200
  if (who === 'cached') return served
  const told = status === 503 && retryAfter === String(RETRY_AFTER_SECONDS)
  const refused = told && text.includes('"exchange_unavailable"')
  if (phase === 'changing') return served || refused
  return phase === 'alive' ? served : refused
}
