import type { Budget } from '../config/config.ts'
import type { Given, Need } from '../store/turns.ts'
import { type Bucket, createBucket, shareOf } from './bucket.ts'
import { LeasedBucket, Moved } from './leased.ts'
import type { Turn } from './line.ts'

export interface SharedBucketOptions {
  readonly budget: Budget | undefined
  /** How many replicas share it, as it is configured. */
  readonly replicas: number
  /** Asks for turns; never rejects. Undefined: there is no answer. */
  readonly ask: (need: Need) => Promise<Given | undefined>
  /** By what all replicas know a key, without learning it. */
  readonly nameOf: (key: string) => string
  /** `leased` and not used are `unused`; `denied` were told when to come back; `own` is of this replica's own share. */
  readonly count: (outcome: 'leased' | 'unused' | 'denied' | 'own', many: number) => void
  /** For the jitter of what callers are told; default `Math.random`. */
  readonly random?: () => number
}

/** A bucket that all replicas share. */
export interface SharedBucket extends Bucket {
  /** Whether it is: else this replica has its own share. */
  readonly isShared: boolean
  close(): void
}

/** While there is no answer, whether there is one again is found out so often, as long as somebody needs turns. */
const PROBE_MS = 100

/**
 * One budget for all replicas while they can ask for it, and each its own share, `rate` over the number of replicas, while
 * they cannot. Who waits when that changes waits on, in the same order: nobody is refused for it. The own share begins with
 * nothing, so that an answer that comes late once brings no turn that others have.
 */
export function createSharedBucket(options: SharedBucketOptions): SharedBucket {
  return new BetweenTwo(options)
}

class BetweenTwo implements SharedBucket {
  readonly #with: SharedBucketOptions
  readonly #leased: LeasedBucket
  /** Undefined while there are answers. */
  #own: Bucket | undefined
  #back = new AbortController()
  #wasShared = false
  #waiting = 0
  #probedAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: SharedBucketOptions) {
    const { ask, count } = options
    this.#with = options
    this.#leased = new LeasedBucket({
      ...options,
      count,
      ask: async (need) => {
        const given = await ask(need)
        if (given === undefined) this.#lose()
        else this.#join()
        return given
      },
    })
  }

  async take(turn: Turn): Promise<void> {
    for (;;) {
      try {
        await (this.#own === undefined ? this.#leased.take(turn) : this.#takeOwn(this.#own, turn))
        return
      } catch (error) {
        if (!(error instanceof Moved)) throw error
      }
    }
  }

  pauseFor(ms: number): void {
    this.#leased.pauseFor(ms)
    this.#own?.pauseFor(ms)
  }

  async promise(key: string | undefined): Promise<number> {
    if (this.#own !== undefined) return this.#own.promise(key)
    try {
      return await this.#leased.promise(key)
    } catch (error) {
      if (!(error instanceof Moved)) throw error
      return this.promise(key)
    }
  }

  get available(): number {
    return (this.#own ?? this.#leased).available
  }

  get isShared(): boolean {
    return this.#own === undefined && this.#wasShared
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#leased.close()
  }

  async #takeOwn(own: Bucket, turn: Turn): Promise<void> {
    turn.signal.throwIfAborted()
    this.#probe()
    const signal = AbortSignal.any([turn.signal, this.#back.signal])
    this.#waiting++
    try {
      await own.take({ ...turn, signal })
    } finally {
      this.#waiting--
    }
    this.#leased.wasAlone = true
    this.#with.count('own', 1)
  }

  /** Each replica for itself, until there is an answer. */
  #lose(): void {
    if (this.#own !== undefined) return
    const { budget, random } = this.#with
    // Where more replicas were seen than are configured, the shares of those that are configured are too large.
    const replicas = Math.max(this.#with.replicas, this.#leased.replicas)
    this.#own = createBucket(
      budget && shareOf(budget, replicas),
      random,
      this.#wasShared ? 0 : undefined,
    )
    this.#own.pauseFor(this.#leased.pauseMs)
    this.#probedAt = Date.now()
  }

  #join(): void {
    this.#wasShared = true
    if (this.#own === undefined) return
    this.#own = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
    const back = this.#back
    this.#back = new AbortController()
    back.abort(new Moved())
  }

  #probe(): void {
    const now = Date.now()
    if (Math.abs(now - this.#probedAt) >= PROBE_MS) {
      this.#probedAt = now
      this.#leased.probe()
    }
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#waiting > 0) this.#probe()
    }, PROBE_MS)
    // Who waits has a timer of the own bucket's.
    this.#timer.unref()
  }
}
