import type { Budget } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { Promised } from './promised.ts'

/** What one exchange asks of the budget. */
export interface Turn {
  readonly signal: AbortSignal
  /** Epoch milliseconds. */
  readonly deadline: number
  /** By what it is known when it comes back. Without one nothing is promised to it. */
  readonly key?: string | undefined
  /** All others go first. */
  readonly background?: boolean | undefined
}

export interface Bucket {
  /**
   * Resolves when an exchange may leave.
   *
   * @throws {GatewayError} `exchange_unavailable` where the deadline would pass first
   */
  take(turn: Turn): Promise<void>
  /** Lets nothing leave for this long. */
  pauseFor(ms: number): void
  /** Promises a turn to who could not have one now: in how many seconds, at most 60. */
  promise(key: string | undefined): number
  /** How many exchanges could leave at once now. */
  readonly available: number
}

interface Waiting {
  readonly turn: Turn
  readonly leave: () => void
  readonly refuse: (error: GatewayError) => void
}

const LONGEST_RETRY_AFTER_SECONDS = 60

/**
 * Turns that were late because the process was busy are made up for, as long as somebody waits: but no more than the
 * larger of one turn and what this time holds. Without it each late timer would cost a part of the rate.
 */
const MADE_UP_FOR_MS = 100

/**
 * A token bucket. Without a budget only what the issuer itself says holds anything back.
 *
 * @param random for the jitter of what callers are told; default `Math.random`
 */
export function createBucket(budget: Budget | undefined, random = Math.random): Bucket {
  return budget === undefined
    ? new TokenBucket(Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER, random)
    : new TokenBucket(budget.rate, budget.burst, random)
}

/** Who goes first: who was told to come, who comes, what nobody waits for. Each in the order of arrival. */
const TOLD = 0
const COMING = 1
const BACKGROUND = 2

class TokenBucket implements Bucket {
  readonly #everyMs: number
  readonly #burst: number
  readonly #random: () => number
  readonly #queues: readonly Set<Waiting>[] = [new Set(), new Set(), new Set()]
  readonly #promised = new Promised()
  #level: number
  #filledAt = Date.now()
  #pausedUntil = 0
  #timer: NodeJS.Timeout | undefined

  constructor(rate: number, burst: number, random: () => number) {
    this.#everyMs = 1_000 / rate
    this.#burst = burst
    this.#level = burst
    this.#random = random
  }

  async take(turn: Turn): Promise<void> {
    turn.signal.throwIfAborted()
    const now = Date.now()
    this.#fill(now)
    this.#promised.sweep(now)
    const rank = this.#rankOf(turn, now)
    const ahead = this.#waiting(rank)
    if (this.#waitFor(ahead, now) > 0) {
      if (now + this.#expectedWait(rank, ahead, now) > turn.deadline) throw this.#shed(turn, now)
      return this.#enqueue(rank, turn, now)
    }
    this.#redeem(turn)
    this.#level--
  }

  pauseFor(ms: number): void {
    const now = Date.now()
    this.#fill(now)
    this.#pausedUntil = Math.max(this.#pausedUntil, now + ms)
    this.#shedLate(now)
    this.#schedule(now)
  }

  /**
   * The length of the virtual queue, which is who waits and who was told to come, over the rate: rounded up, with up to a
   * second more so that not all come at once. Beyond a minute nothing is promised.
   */
  promise(key: string | undefined): number {
    const now = Date.now()
    const dueAt = key === undefined ? undefined : this.#promised.dueAt(key)
    if (dueAt !== undefined && dueAt > now) return Math.ceil((dueAt - now) / 1_000)
    const length = this.#waiting(COMING) + this.#promised.size
    const seconds = this.#waitFor(length, now) / 1_000
    const told = Math.max(1, Math.ceil(seconds + this.#random()))
    if (told >= LONGEST_RETRY_AFTER_SECONDS) return LONGEST_RETRY_AFTER_SECONDS
    if (key !== undefined && this.#everyMs > 0) this.#promised.give(key, now + told * 1_000)
    return told
  }

  get available(): number {
    const now = Date.now()
    this.#fill(now)
    return this.#pausedUntil > now ? 0 : Math.floor(Math.min(this.#level, this.#burst))
  }

  #rankOf({ background, key }: Turn, now: number): number {
    if (background) return BACKGROUND
    return key !== undefined && this.#promised.isDue(key, now) ? TOLD : COMING
  }

  /** How many wait in this rank and before it. */
  #waiting(rank: number): number {
    let waiting = 0
    for (let at = 0; at <= rank; at++) waiting += this.#queues[at]!.size
    return waiting
  }

  #redeem({ key }: Turn): void {
    if (key !== undefined) this.#promised.redeem(key)
  }

  #shed({ key, background }: Turn, now: number): GatewayError {
    const seconds = Math.ceil(this.#waitFor(this.#waiting(BACKGROUND), now) / 1_000)
    return new GatewayError('exchange_unavailable', 'the budget of exchanges is spent', {
      retryAfter: background
        ? Math.min(Math.max(1, seconds), LONGEST_RETRY_AFTER_SECONDS)
        : this.promise(key),
    })
  }

  #enqueue(rank: number, turn: Turn, now: number): Promise<void> {
    const { signal } = turn
    const queue = this.#queues[rank]!
    this.#redeem(turn)
    return new Promise<void>((resolve, reject) => {
      const stay = (): void => signal.removeEventListener('abort', dropped)
      const dropped = (): void => {
        queue.delete(waiting)
        this.#schedule(Date.now())
        reject(signal.reason as Error)
      }
      const waiting: Waiting = {
        turn,
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
      queue.add(waiting)
      this.#schedule(now)
    })
  }

  #levelAt(time: number): number {
    if (this.#everyMs === 0) return this.#burst
    // A pause is nothing to make up for: the issuer asked for it.
    const owed =
      this.#waiting(BACKGROUND) > 0 && this.#filledAt >= this.#pausedUntil
        ? Math.max(1, MADE_UP_FOR_MS / this.#everyMs)
        : 0
    const filled = this.#level + Math.max(0, time - this.#filledAt) / this.#everyMs
    return Math.min(this.#burst + owed, filled)
  }

  #fill(now: number): void {
    this.#level = this.#levelAt(now)
    this.#filledAt = now
  }

  /** When the next one behind so many could leave, in milliseconds from now. A pause fills the bucket like any other time. */
  #waitFor(ahead: number, now: number): number {
    const from = Math.max(now, this.#pausedUntil)
    const lacking = Math.max(0, ahead + 1 - this.#levelAt(from))
    return from - now + lacking * this.#everyMs
  }

  /** The same for one that has to let those pass who were told to come by then. */
  #expectedWait(rank: number, ahead: number, now: number): number {
    const waitBehind = (more: number): number => this.#waitFor(ahead + more, now)
    return waitBehind(rank === TOLD ? 0 : this.#promised.expected(now, waitBehind))
  }

  /** Those who would wait for too long now learn it now. */
  #shedLate(now: number): void {
    let ahead = 0
    for (const queue of this.#queues) {
      for (const waiting of queue) {
        if (now + this.#waitFor(ahead, now) <= waiting.turn.deadline) {
          ahead++
          continue
        }
        queue.delete(waiting)
        waiting.refuse(this.#shed(waiting.turn, now))
      }
    }
  }

  #serve(): void {
    this.#timer = undefined
    const now = Date.now()
    this.#fill(now)
    this.#shedLate(now)
    for (const queue of this.#queues) {
      for (const waiting of queue) {
        if (this.#waitFor(0, now) > 0) break
        this.#level--
        queue.delete(waiting)
        waiting.leave()
      }
    }
    this.#schedule(now)
  }

  #schedule(now: number): void {
    if (this.#waiting(BACKGROUND) === 0) {
      clearTimeout(this.#timer)
      this.#timer = undefined
    } else if (this.#timer === undefined) {
      const wait = Math.max(1, Math.ceil(this.#waitFor(0, now)))
      this.#timer = setTimeout(() => this.#serve(), wait)
    }
  }
}
