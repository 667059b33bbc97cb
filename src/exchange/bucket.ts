import type { Budget } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { BACKGROUND, COMING, Line, type Rank, TOLD, type Turn } from './line.ts'
import { Promised } from './promised.ts'

export interface Bucket {
  /**
   * Resolves when an exchange may leave.
   *
   * @throws {GatewayError} `exchange_unavailable` where the deadline would pass first
   */
  take(turn: Turn): Promise<void>
  /** Holds all exchanges back for this long. */
  pauseFor(ms: number): void
  /** Promises a later turn to a caller that could not have one now. Returns in how many seconds to come back, at most 60. */
  promise(key: string | undefined): number | Promise<number>
  /** How many exchanges could leave at once now. */
  readonly available: number
}

/** A bucket that fills by itself. */
export interface OwnBucket extends Bucket {
  /** Empties the bucket, because other processes have spent what it saved up. */
  empty(): void
}

export const LONGEST_RETRY_AFTER_SECONDS = 60

/**
 * While somebody waits, turns that were late because the process was busy are made up for: as many as fit in this time, in
 * milliseconds, and at least one. Without it each late timer would cost a part of the rate.
 */
const MADE_UP_FOR_MS = 100

/**
 * A token bucket, full at the beginning. Without a budget only the issuer's own throttling holds exchanges back.
 *
 * @param random for the jitter of `Retry-After`; default `Math.random`
 */
export function createBucket(budget: Budget | undefined, random = Math.random): OwnBucket {
  return budget === undefined
    ? new TokenBucket(Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER, random)
    : new TokenBucket(budget.rate, budget.burst, random)
}

/** The part of a budget that one of so many replicas may spend while it cannot ask the others. */
export function shareOf(budget: Budget, replicas: number): Budget {
  const burst = Math.max(1, Math.floor(budget.burst / replicas))
  return { ...budget, rate: budget.rate / replicas, burst }
}

/** The refusal of an exchange that cannot leave before its deadline. Its caller may come back in so many seconds. */
export function budgetSpent(seconds: number): GatewayError {
  return new GatewayError('exchange_unavailable', 'the budget of exchanges is spent', {
    retryAfter: Math.min(Math.max(1, seconds), LONGEST_RETRY_AFTER_SECONDS),
  })
}

class TokenBucket implements OwnBucket {
  readonly #everyMs: number
  readonly #burst: number
  readonly #random: () => number
  readonly #line = new Line()
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
    const ahead = this.#line.upTo(rank)
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
   * How long the rate needs for the virtual queue: all callers that wait, and all that were told when to come back. Up to a
   * second is added so that not all come at once, and the sum rounded up. From a minute on no turn is promised.
   */
  promise(key: string | undefined): number {
    const now = Date.now()
    const dueAt = key === undefined ? undefined : this.#promised.dueAt(key)
    if (dueAt !== undefined && dueAt > now) return Math.ceil((dueAt - now) / 1_000)
    const length = this.#line.upTo(COMING) + this.#promised.size
    const seconds = this.#waitFor(length, now) / 1_000
    const told = Math.max(1, Math.ceil(seconds + this.#random()))
    if (told >= LONGEST_RETRY_AFTER_SECONDS) return LONGEST_RETRY_AFTER_SECONDS
    if (key !== undefined && this.#everyMs > 0) this.#promised.give(key, now + told * 1_000)
    return told
  }

  empty(): void {
    const now = Date.now()
    this.#fill(now)
    this.#level = Math.min(this.#level, 0)
    this.#shedLate(now)
  }

  get available(): number {
    const now = Date.now()
    this.#fill(now)
    return this.#pausedUntil > now ? 0 : Math.floor(Math.min(this.#level, this.#burst))
  }

  #rankOf({ background, key }: Turn, now: number): Rank {
    if (background) return BACKGROUND
    return key !== undefined && this.#promised.isDue(key, now) ? TOLD : COMING
  }

  #redeem({ key }: Turn): void {
    if (key !== undefined) this.#promised.redeem(key)
  }

  #shed({ key, background }: Turn, now: number): GatewayError {
    const seconds = Math.ceil(this.#waitFor(this.#line.upTo(BACKGROUND), now) / 1_000)
    return budgetSpent(background ? seconds : this.promise(key))
  }

  #enqueue(rank: Rank, turn: Turn, now: number): Promise<void> {
    this.#redeem(turn)
    const { left } = this.#line.enter(rank, turn, () => this.#schedule(Date.now()))
    this.#schedule(now)
    return left
  }

  #levelAt(time: number): number {
    if (this.#everyMs === 0) return this.#burst
    // Turns that a pause cost are not made up for: the issuer asked for the pause.
    const owed =
      this.#line.upTo(BACKGROUND) > 0 && this.#filledAt >= this.#pausedUntil
        ? Math.max(1, MADE_UP_FOR_MS / this.#everyMs)
        : 0
    const filled = this.#level + Math.max(0, time - this.#filledAt) / this.#everyMs
    return Math.min(this.#burst + owed, filled)
  }

  #fill(now: number): void {
    this.#level = this.#levelAt(now)
    this.#filledAt = now
  }

  /** In how many milliseconds an exchange behind so many others could leave. The bucket fills during a pause, too. */
  #waitFor(ahead: number, now: number): number {
    const from = Math.max(now, this.#pausedUntil)
    const lacking = Math.max(0, ahead + 1 - this.#levelAt(from))
    return from - now + lacking * this.#everyMs
  }

  /** The same for an exchange that has to let those pass that were told to come back by then. */
  #expectedWait(rank: Rank, ahead: number, now: number): number {
    const waitBehind = (more: number): number => this.#waitFor(ahead + more, now)
    return waitBehind(rank === TOLD ? 0 : this.#promised.expected(now, waitBehind))
  }

  /** Refuses at once all whose turn would now come after their deadline. */
  #shedLate(now: number): void {
    let ahead = 0
    for (const waiting of this.#line.inOrder()) {
      if (now + this.#waitFor(ahead, now) <= waiting.turn.deadline) {
        ahead++
        continue
      }
      this.#line.remove(waiting)
      waiting.refuse(this.#shed(waiting.turn, now))
    }
  }

  #serve(): void {
    this.#timer = undefined
    const now = Date.now()
    this.#fill(now)
    this.#shedLate(now)
    for (const waiting of this.#line.inOrder()) {
      if (this.#waitFor(0, now) > 0) break
      this.#level--
      this.#line.remove(waiting)
      waiting.leave()
    }
    this.#schedule(now)
  }

  #schedule(now: number): void {
    if (this.#line.upTo(BACKGROUND) === 0) {
      clearTimeout(this.#timer)
      this.#timer = undefined
    } else if (this.#timer === undefined) {
      const wait = Math.max(1, Math.ceil(this.#waitFor(0, now)))
      this.#timer = setTimeout(() => this.#serve(), wait)
    }
  }
}
