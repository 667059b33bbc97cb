import type { Budget } from '../config/config.ts'
import { type Asked, Between, Moved, type SharedBucket } from './between.ts'
import { budgetSpent, createBucket } from './bucket.ts'
import type { Turn } from './line.ts'

/** One who waits for a turn of a bucket in another process. Plain data. */
export interface Place {
  /** By what its process knows it. */
  readonly number: number
  /** Epoch milliseconds, by the clock of the host. */
  readonly deadline: number
  /** The key of its exchange, a hash: nothing else of a request leaves its process. */
  readonly key: string | undefined
  readonly background: boolean
  /** This process spent turns beside that bucket: what it saved up is gone. */
  readonly wasAlone: boolean
}

/** The turn has come; or in how many seconds to come back; or nobody waits for it any more. */
export type Taken = 'turn' | 'left' | number

/** A bucket in another process of this host. Whatever is asked of it never rejects; undefined: there is no answer. */
export interface Elsewhere {
  take(place: Place): Promise<Taken | undefined>
  /** Gives up a place. */
  leave(number: number): void
  promise(key: string | undefined): Promise<number | undefined>
  /** Lets nothing leave until then, in epoch milliseconds. */
  pause(until: number): void
  /** How long the issuer wants to be left alone, as far as that process told, in epoch milliseconds. */
  readonly pausedUntil: number
  /** As that process told last. */
  readonly available: number
  /** Whether it answers again. */
  probe(): Promise<boolean>
  /** Nobody here needs it any more. */
  close(): void
}

export interface HostBucketOptions {
  readonly elsewhere: Elsewhere
  /** The share of this process alone, while there is no answer. */
  readonly share: Budget | undefined
  /** Told of each turn of that. */
  readonly spent: () => void
  /** For the jitter of what callers are told while there is no answer; default `Math.random`. */
  readonly random?: () => number
}

/**
 * One budget for all processes of a host, in one of them, whose line is that of all; and for each its own share while that
 * process does not answer.
 */
export function createHostBucket(options: HostBucketOptions): SharedBucket {
  const { elsewhere, share, spent, random } = options
  return new Between({
    asked: (answered) => new RemoteBucket(elsewhere, answered),
    own: () => createBucket(share, random),
    spent,
  })
}

/** So long after its deadline is an answer waited for that may be on its way, in milliseconds. */
const LATE_MS = 100

/** Those that were asked for by this process, so far. */
let places = 0

/** Thin: whoever waits has its place there, and is asked about once. */
class RemoteBucket implements Asked {
  readonly #elsewhere: Elsewhere
  readonly #answered: (isThere: boolean) => void
  #pausedUntil = 0
  #isProbing = false
  wasAlone = false

  constructor(elsewhere: Elsewhere, answered: (isThere: boolean) => void) {
    this.#elsewhere = elsewhere
    this.#answered = answered
    // Where the bucket is, this process comes from.
    answered(true)
  }

  take({ signal, deadline, key, background = false }: Turn): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason as Error)
    const number = ++places
    const { wasAlone } = this
    // Once: what is taken away each time that somebody comes would never be there.
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
        // When it hears again, nobody is here for that turn.
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
