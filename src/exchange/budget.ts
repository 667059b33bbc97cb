import type { Permit } from '../authorize/authorize.ts'
import type { Budget } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { Exchange } from './exchange.ts'

/**
 * Paces the exchanges with one issuer: a token bucket, served in the order of arrival. What cannot be served before its
 * deadline is shed at once, and told when to come back. An issuer that throttles us is left alone until it said.
 */
export function budgeted(exchange: Exchange, bucketOf: (permit: Permit) => Bucket): Exchange {
  return async (permit, ask) => {
    const bucket = bucketOf(permit)
    await bucket.take(ask.signal, ask.deadline)
    try {
      return await exchange(permit, ask)
    } catch (error) {
      if (isThrottled(error)) bucket.pauseFor(error.retryAfter * 1_000)
      throw error
    }
  }
}

function isThrottled(error: unknown): error is GatewayError & { readonly retryAfter: number } {
  return (
    error instanceof GatewayError &&
    error.code === 'exchange_unavailable' &&
    error.throttled &&
    error.retryAfter !== undefined
  )
}

export interface Bucket {
  /**
   * Resolves when an exchange may leave.
   *
   * @throws {GatewayError} `exchange_unavailable` where the deadline (epoch milliseconds) would pass first
   */
  take(signal: AbortSignal, deadline: number): Promise<void>
  /** Lets nothing leave for this long. */
  pauseFor(ms: number): void
  /** How many exchanges could leave at once now. */
  readonly available: number
}

interface Waiting {
  readonly deadline: number
  readonly leave: () => void
  readonly refuse: (error: GatewayError) => void
}

const LONGEST_RETRY_AFTER_SECONDS = 60

/** Without a budget only what the issuer itself says holds anything back. */
export function createBucket(budget: Budget | undefined): Bucket {
  return budget === undefined
    ? new TokenBucket(Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER)
    : new TokenBucket(budget.rate, budget.burst)
}

class TokenBucket implements Bucket {
  readonly #everyMs: number
  readonly #burst: number
  readonly #queue = new Set<Waiting>()
  #level: number
  #filledAt = Date.now()
  #pausedUntil = 0
  #timer: NodeJS.Timeout | undefined

  constructor(rate: number, burst: number) {
    this.#everyMs = 1_000 / rate
    this.#burst = burst
    this.#level = burst
  }

  async take(signal: AbortSignal, deadline: number): Promise<void> {
    signal.throwIfAborted()
    const now = Date.now()
    this.#fill(now)
    const wait = this.#waitFor(this.#queue.size, now)
    if (wait > 0) {
      if (now + wait > deadline) throw spent(wait)
      return this.#enqueue(signal, deadline, now)
    }
    this.#level--
  }

  pauseFor(ms: number): void {
    const now = Date.now()
    this.#pausedUntil = Math.max(this.#pausedUntil, now + ms)
    this.#shedLate(now)
    this.#schedule(now)
  }

  get available(): number {
    const now = Date.now()
    this.#fill(now)
    return this.#pausedUntil > now ? 0 : Math.floor(this.#level)
  }

  #enqueue(signal: AbortSignal, deadline: number, now: number): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const stay = (): void => signal.removeEventListener('abort', dropped)
      const dropped = (): void => {
        this.#queue.delete(waiting)
        this.#schedule(Date.now())
        reject(signal.reason as Error)
      }
      const waiting: Waiting = {
        deadline,
        leave: () => {
          stay()
          resolve()
        },
        refuse: (error) => {
          stay()
          reject(error)
        },
      }
      signal.addEventListener('abort', dropped, { once: true })
      this.#queue.add(waiting)
      this.#schedule(now)
    })
  }

  #levelAt(time: number): number {
    if (this.#everyMs === 0) return this.#burst
    return Math.min(this.#burst, this.#level + Math.max(0, time - this.#filledAt) / this.#everyMs)
  }

  #fill(now: number): void {
    this.#level = this.#levelAt(now)
    this.#filledAt = now
  }

  /** When the next one of so many could leave, in milliseconds from now. A pause fills the bucket like any other time. */
  #waitFor(ahead: number, now: number): number {
    const from = Math.max(now, this.#pausedUntil)
    const lacking = Math.max(0, ahead + 1 - this.#levelAt(from))
    return from - now + lacking * this.#everyMs
  }

  /** Those who would wait for too long now learn it now. */
  #shedLate(now: number): void {
    let ahead = 0
    for (const waiting of this.#queue) {
      const wait = this.#waitFor(ahead, now)
      if (now + wait <= waiting.deadline) {
        ahead++
        continue
      }
      this.#queue.delete(waiting)
      waiting.refuse(spent(wait))
    }
  }

  #serve(): void {
    this.#timer = undefined
    const now = Date.now()
    this.#fill(now)
    this.#shedLate(now)
    for (const waiting of this.#queue) {
      if (this.#waitFor(0, now) > 0) break
      this.#level--
      this.#queue.delete(waiting)
      waiting.leave()
    }
    this.#schedule(now)
  }

  #schedule(now: number): void {
    if (this.#queue.size === 0) {
      clearTimeout(this.#timer)
      this.#timer = undefined
    } else if (this.#timer === undefined) {
      const wait = Math.max(1, Math.ceil(this.#waitFor(0, now)))
      this.#timer = setTimeout(() => this.#serve(), wait)
    }
  }
}

function spent(waitMs: number): GatewayError {
  const seconds = Math.max(1, Math.ceil(waitMs / 1_000))
  return new GatewayError('exchange_unavailable', 'the budget of exchanges is spent', {
    retryAfter: Math.min(seconds, LONGEST_RETRY_AFTER_SECONDS),
  })
}
