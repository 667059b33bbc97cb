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
  const { rate, burst } = budget ?? {
    rate: Number.POSITIVE_INFINITY,
    burst: Number.MAX_SAFE_INTEGER,
  }
  const everyMs = 1_000 / rate
  const queue = new Set<Waiting>()
  let level = burst
  let filledAt = Date.now()
  let pausedUntil = 0
  let timer: NodeJS.Timeout | undefined

  function levelAt(time: number): number {
    if (everyMs === 0) return burst
    return Math.min(burst, level + Math.max(0, time - filledAt) / everyMs)
  }

  function fill(now: number): void {
    level = levelAt(now)
    filledAt = now
  }

  /** When the next one of so many could leave, in milliseconds from now. A pause fills the bucket like any other time. */
  function waitFor(ahead: number, now: number): number {
    const from = Math.max(now, pausedUntil)
    const lacking = Math.max(0, ahead + 1 - levelAt(from))
    return from - now + lacking * everyMs
  }

  /** Those who would wait for too long now learn it now. */
  function shedLate(now: number): void {
    let ahead = 0
    for (const waiting of queue) {
      const wait = waitFor(ahead, now)
      if (now + wait <= waiting.deadline) {
        ahead++
        continue
      }
      queue.delete(waiting)
      waiting.refuse(spent(wait))
    }
  }

  function serve(): void {
    timer = undefined
    const now = Date.now()
    fill(now)
    shedLate(now)
    for (const waiting of queue) {
      if (waitFor(0, now) > 0) break
      level--
      queue.delete(waiting)
      waiting.leave()
    }
    schedule(now)
  }

  function schedule(now: number): void {
    if (queue.size === 0) {
      clearTimeout(timer)
      timer = undefined
    } else if (timer === undefined) {
      timer = setTimeout(serve, Math.max(1, Math.ceil(waitFor(0, now))))
    }
  }

  return {
    async take(signal, deadline) {
      signal.throwIfAborted()
      const now = Date.now()
      fill(now)
      const wait = waitFor(queue.size, now)
      if (wait === 0) {
        level--
        return
      }
      if (now + wait > deadline) throw spent(wait)
      await new Promise<void>((resolve, reject) => {
        const stay = (): void => signal.removeEventListener('abort', dropped)
        const dropped = (): void => {
          queue.delete(waiting)
          schedule(Date.now())
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
        queue.add(waiting)
        schedule(now)
      })
    },
    pauseFor(ms) {
      const now = Date.now()
      pausedUntil = Math.max(pausedUntil, now + ms)
      shedLate(now)
      schedule(now)
    },
    get available() {
      const now = Date.now()
      fill(now)
      return pausedUntil > now ? 0 : Math.floor(level)
    },
  }
}

function spent(waitMs: number): GatewayError {
  const seconds = Math.max(1, Math.ceil(waitMs / 1_000))
  return new GatewayError('exchange_unavailable', 'the budget of exchanges is spent', {
    retryAfter: Math.min(seconds, LONGEST_RETRY_AFTER_SECONDS),
  })
}
