import type { Permit } from '../authorize/authorize.ts'
import type { Issuer } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { clientOf } from './client.ts'
import type { Exchange } from './exchange.ts'
import { Unfit } from './unfit.ts'

const SHORTEST_MS = 1_000
const LONGEST_MS = 30_000
/** As long as nothing is known of a target, so many exchanges find it out for all the others. */
const FIRST = 3
/** So long may they take. */
const FIRST_MS = 1_000
/** What makes no sense for one user says little of the others: so many users in a row say that it is the target. */
const UNFIT_IN_A_ROW = 10

/**
 * Breakers, one for each issuer, client and target. One opens where the issuer does not accept us as a client, or what it
 * answers for ten users in a row makes no sense: that is for somebody to mend, and asking for each request is a storm. Nobody
 * can open one alone, with a token that only its own exchange fails for.
 */
export interface Breakers {
  /** Answers at once while a breaker is open, and then lets a single exchange through. It stands outside the budget. */
  guarded(exchange: Exchange): Exchange
  /** Tells a breaker what became of an exchange. It stands inside the budget. */
  judged(exchange: Exchange): Exchange
  /** How many of an issuer's are open. */
  open(issuer: Issuer): number
}

export function createBreakers(): Breakers {
  const breakers = new Map<string, Breaker>()

  function breakerOf({ subject, route }: Permit): Breaker {
    const { audience, resource, bound } = route.exchange
    const client = clientOf({ subject, route })?.id
    const name = JSON.stringify([subject.issuer, client, audience, resource, bound])
    const known = breakers.get(name)
    if (known !== undefined) return known
    const made = new Breaker(subject.api.issuer.name)
    breakers.set(name, made)
    return made
  }

  return {
    guarded: (exchange) => (permit, ask) => {
      const breaker = breakerOf(permit)
      if (!breaker.hasFailed) return exchange(permit, ask)
      if (breaker.isOpen || breaker.probing) {
        ask.outcome = 'shed'
        throw breaker.refusal()
      }
      return breaker.probe(async () => exchange(permit, ask))
    },
    judged: (exchange) => async (permit, ask) => {
      const breaker = breakerOf(permit)
      await breaker.untried(ask.signal)
      try {
        const token = await exchange(permit, ask)
        breaker.close()
        return token
      } catch (error) {
        // The API's own token is nobody's misfortune but ours.
        const isOfUser =
          error instanceof Unfit && permit.route.exchange.grant !== 'client-credentials'
        if (!isOfUser || breaker.isUnfit(permit.subject.subject)) breaker.judge(error)
        throw error
      }
    },
    open: (issuer) =>
      [...breakers.values()].filter((one) => one.issuer === issuer.name && one.isOpen).length,
  }
}

class Breaker {
  readonly issuer: string
  probing = false
  #failures = 0
  #openUntil = 0
  readonly #unfit = new Set<string>()
  /** Until something is known. */
  #first: First | undefined = new First()

  constructor(issuer: string) {
    this.issuer = issuer
  }

  get hasFailed(): boolean {
    return this.#failures > 0
  }

  get isOpen(): boolean {
    return this.#openUntil > Date.now()
  }

  async probe<Answer>(exchange: () => Promise<Answer>): Promise<Answer> {
    this.probing = true
    try {
      return await exchange()
    } finally {
      this.probing = false
    }
  }

  /**
   * Lets the first few through, and the others when one of them is answered.
   *
   * @throws {GatewayError} `exchange_misconfigured`
   */
  async untried(signal: AbortSignal): Promise<void> {
    if (this.#first === undefined || this.#first.admit()) return
    await this.#first.turn()
    if (this.isOpen) throw this.refusal()
    if (signal.aborted) this.#first?.another()
    signal.throwIfAborted()
  }

  /** Whether what comes makes no sense whoever it is for. */
  isUnfit(user: string): boolean {
    if (this.#unfit.size < UNFIT_IN_A_ROW) this.#unfit.add(user)
    // One user says too little to let all the others go.
    this.#first?.another()
    return this.#unfit.size >= UNFIT_IN_A_ROW
  }

  judge(error: unknown): void {
    const code = error instanceof GatewayError ? error.code : undefined
    if (code === 'exchange_misconfigured') this.#fail()
    // A decision on the token is one that was made for us as a client.
    else if (error instanceof GatewayError && error.status < 500) this.close()
    else if (code !== undefined) this.#learn()
  }

  close(): void {
    this.#failures = 0
    this.#openUntil = 0
    this.#unfit.clear()
    this.#learn()
  }

  refusal(): GatewayError {
    const seconds = Math.ceil((this.#openUntil - Date.now()) / 1_000)
    return new GatewayError(
      'exchange_misconfigured',
      'the gateway could not exchange tokens for this target just now',
      { retryAfter: Math.max(1, seconds) },
    )
  }

  #fail(): void {
    // What was sent before it opened says nothing new.
    if (!this.isOpen) {
      const ms = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** this.#failures)
      this.#failures = Math.min(this.#failures + 1, 16)
      this.#openUntil = Date.now() + ms
    }
    this.#learn()
  }

  #learn(): void {
    this.#first?.tell()
    this.#first = undefined
  }
}

/** The first exchanges with a target. */
class First {
  #waiting: (() => void)[] | undefined = []
  #admitted = 0
  #timer: NodeJS.Timeout | undefined

  admit(): boolean {
    this.#timer ??= setTimeout(() => this.tell(), FIRST_MS).unref()
    return ++this.#admitted <= FIRST
  }

  /** Of who was not admitted: when something is known, or one more has to find it out. */
  async turn(): Promise<void> {
    const waiting = this.#waiting
    if (waiting !== undefined) await new Promise<void>((resolve) => waiting.push(resolve))
  }

  /** Lets one more through: one who waits, or who comes. */
  another(): void {
    const next = this.#waiting?.shift()
    if (next === undefined) this.#admitted--
    else next()
  }

  /** From now on nobody waits. */
  tell(): void {
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const go of waiting) go()
  }
}
