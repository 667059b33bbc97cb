import type { Budget } from '../config/config.ts'
import { type Asked, Between, Moved, type SharedBucket } from './between.ts'
import { budgetSpent, createBucket } from './bucket.ts'
import type { Turn } from './line.ts'

/** An exchange that waits for a turn of a bucket in another process. Plain data, because it is sent there. */
export interface Place {
  /** What its own process knows it by. */
  readonly number: number
  /** Epoch milliseconds, by the clock of the host. */
  readonly deadline: number
  /** The key of its exchange, a hash: nothing else of a request leaves its process. */
  readonly key: string | undefined
  readonly background: boolean
  /** Whether this process spent turns that the bucket does not know of: then what the bucket saved up is gone. */
  readonly wasAlone: boolean
}

/** `turn`: the exchange may leave. `left`: its place was given up. A number: refused, to come back in so many seconds. */
export type Taken = 'turn' | 'left' | number

/** A bucket in another process of this host. Its promises never reject; undefined: no answer came. */
export interface Elsewhere {
  take(place: Place): Promise<Taken | undefined>
  /** Gives up a place. */
  leave(number: number): void
  promise(key: string | undefined): Promise<number | undefined>
  /** Lets nothing leave until then, in epoch milliseconds. */
  pause(until: number): void
  /** Until when the issuer wants no requests, as that process said last, in epoch milliseconds. */
  readonly pausedUntil: number
  /** How many exchanges could leave at once, as that process said last. */
  readonly available: number
  /** Finds out whether that process answers again. */
  probe(): Promise<boolean>
  /** To be called when this process no longer needs the bucket. */
  close(): void
}

export interface HostBucketOptions {
  readonly elsewhere: Elsewhere
  /** What this process may spend while no answer comes. */
  readonly share: Budget | undefined
  /** Called for each turn that is taken from that share. */
  readonly spent: () => void
  /** For the jitter of `Retry-After` while no answer comes; default `Math.random`. */
  readonly random?: () => number
}

/**
 * One budget for all processes of a host: one process has the bucket, and the line that all of them wait in. While it does
 * not answer, each of the others spends its own share.
 */
export function createHostBucket(options: HostBucketOptions): SharedBucket {
  const { elsewhere, share, spent, random } = options
  return new Between({
    asked: (answered) => new RemoteBucket(elsewhere, answered),
    own: () => createBucket(share, random),
    spent,
  })
}

/** How long after an exchange's deadline its answer, which may be on its way, is still waited for, in milliseconds. */
const LATE_MS = 100

/** How many places this process has asked for so far: the number of the last one. */
let places = 0

/** Keeps no line here: each exchange waits in the line of the other process, which is asked once for it. */
class RemoteBucket implements Asked {
  readonly #elsewhere: Elsewhere
  readonly #answered: (isThere: boolean) => void
  #pausedUntil = 0
  #isProbing = false
  wasAlone = false

  constructor(elsewhere: Elsewhere, answered: (isThere: boolean) => void) {
    this.#elsewhere = elsewhere
    this.#answered = answered
    // The process that has the bucket started this one, so it is there.
    answered(true)
  }

  take({ signal, deadline, key, background = false }: Turn): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason as Error)
    const number = ++places
    const { wasAlone } = this
    // Said once: a bucket that is emptied for each exchange would never fill.
    this.wasAlone = false
    const place: Place = { number, deadline, key, background, wasAlone }
    return new Promise((resolve, reject) => {
      let isGone = false
      const leave = (reason: Error): void => {
        isGone = true
        settle()
        this.#elsewhere.leave(number)
        reject(reason)
      }
      const gone = (): void => leave(signal.reason as Error)
      signal.addEventListener('abort', gone, { once: true })
      const late = setTimeout(
        () => leave(budgetSpent(1)),
        Math.max(0, deadline - Date.now()) + LATE_MS,
      )
      const settle = (): void => {
        clearTimeout(late)
        signal.removeEventListener('abort', gone)
      }
      void this.#elsewhere.take(place).then((taken) => {
        if (taken === undefined && wasAlone) this.wasAlone = true
        if (isGone) return
        settle()
        // The other process may read the question later: without this it would give a turn that nobody here waits for.
        if (taken === undefined) this.#elsewhere.leave(number)
        this.#answered(taken !== undefined)
        if (taken === 'turn') resolve()
        else reject(typeof taken === 'number' ? budgetSpent(taken) : new Moved())
      })
    })
  }

  pauseFor(ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + ms)
    this.#elsewhere.pause(this.#pausedUntil)
  }

  async promise(key: string | undefined): Promise<number> {
    const seconds = await this.#elsewhere.promise(key)
    this.#answered(seconds !== undefined)
    if (seconds === undefined) throw new Moved()
    return seconds
  }

  get available(): number {
    return this.#elsewhere.available
  }

  get pauseMs(): number {
    return Math.max(0, Math.max(this.#pausedUntil, this.#elsewhere.pausedUntil) - Date.now())
  }

  probe(): void {
    if (this.#isProbing) return
    this.#isProbing = true
    void this.#elsewhere.probe().then((isThere) => {
      this.#isProbing = false
      if (isThere) this.#answered(true)
    })
  }

  close(): void {
    this.#elsewhere.close()
  }
}
