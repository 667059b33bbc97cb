import type { Permit } from '../authorize/authorize.ts'
import type { Issuer } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { clientOf } from './client.ts'
import type { Exchange } from './exchange.ts'
import { Unfit } from './unfit.ts'

const SHORTEST_MS = 1_000
const LONGEST_MS = 30_000
/** How many exchanges are sent to a target of which nothing is known yet. All others wait for the first outcome. */
const FIRST = 3
/** The longest that the others wait, in milliseconds. */
const FIRST_MS = 1_000
/** An unusable answer for one user says little about others. After so many users in a row the target is to blame. */
const UNFIT_IN_A_ROW = 10

/**
 * Breakers, one for each issuer, client and target. A breaker opens when the issuer does not accept the gateway as a client,
 * or when its answers for ten users in a row are unusable: only an operator can mend that, and asking for each request would
 * be a storm. One caller alone cannot open a breaker with a token that fails only its own exchange.
 */
export interface Breakers {
  /** Refuses at once while the breaker is open, and then lets one exchange through as a probe. Stands outside the budget. */
  guarded(exchange: Exchange): Exchange
  /** Tells the breaker the outcome of each exchange. Stands inside the budget. */
  judged(exchange: Exchange): Exchange
  /** How many of the issuer's breakers are open. */
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
        // A client credentials answer concerns no user: an unusable one counts against the target at once.
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
  /** Undefined as soon as the outcome of one exchange is known. */
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
   * Lets the first few exchanges through, and the others once one of these has an outcome.
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

  /** Counts an unusable answer for a user. Returns whether so many users in a row had one that the target is to blame. */
  isUnfit(user: string): boolean {
    if (this.#unfit.size < UNFIT_IN_A_ROW) this.#unfit.add(user)
    // One user's answer is not enough to release all who wait: one more is sent.
    this.#first?.another()
    return this.#unfit.size >= UNFIT_IN_A_ROW
  }

  judge(error: unknown): void {
    const code = error instanceof GatewayError ? error.code : undefined
    if (code === 'exchange_misconfigured') this.#fail()
    // An issuer that decides on a token has accepted the gateway as a client.
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
    // Exchanges that were sent before the breaker opened fail for the same reason: they do not lengthen the pause.
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
  #isTimed = false

  admit(): boolean {
    if (!this.#isTimed) setTimeout(() => this.tell(), FIRST_MS).unref()
    this.#isTimed = true
    return ++this.#admitted <= FIRST
  }

  /** For an exchange that was not admitted: resolves when an outcome is known, or when it is to be sent as one more. */
  async turn(): Promise<void> {
    const waiting = this.#waiting
    if (waiting !== undefined) await new Promise<void>((resolve) => waiting.push(resolve))
  }

  /** Admits one more: the first that waits, or else the next that comes. */
  another(): void {
    const next = this.#waiting?.shift()
    if (next === undefined) this.#admitted--
    else next()
  }

  /** Releases all who wait. From now on nobody has to. */
  tell(): void {
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const go of waiting) go()
  }
}
