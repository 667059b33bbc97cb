import { ExpectedEnd } from '../errors.ts'
import type { Bucket, OwnBucket } from './bucket.ts'
import type { Turn } from './line.ts'

/** A bucket that other processes share and that is asked for turns. Without an answer all who wait get {@link Moved}. */
export interface Asked extends Bucket {
  /** For how long the issuer wants no requests, as far as is known here, in milliseconds. */
  readonly pauseMs: number
  /** Whether this process spent turns that the bucket does not know of. It is told with the next question. */
  wasAlone: boolean
  /** Asks although nobody waits, to find out whether the bucket answers again. */
  probe(): void
  close(): void
}

/** This line is closed: whoever waited in it has to ask again, and is put in another. */
export class Moved extends ExpectedEnd {
  constructor() {
    super('the line is closed')
  }
}

export interface BetweenOptions {
  /** @param answered called after each question: with true for an answer, with false where none came */
  readonly asked: (answered: (isThere: boolean) => void) => Asked
  /** The bucket to use while the shared one does not answer. Called each time that it falls silent. */
  readonly own: () => OwnBucket
  /** Called for each turn that is taken from `own`. */
  readonly spent: () => void
}

/** A bucket that is shared with other processes while the process or server that holds it answers. */
export interface SharedBucket extends OwnBucket {
  /** Whether it is shared now; otherwise this process spends a share of its own. */
  readonly isShared: boolean
  close(): void
}

/** How often a silent bucket is probed, in milliseconds, as long as somebody needs turns. */
const PROBE_MS = 100

/**
 * Takes turns from a shared bucket, and from one of its own while that does not answer. Exchanges that wait when this
 * changes keep waiting, in the same order; none is refused for it. Where the budget was shared before, the own bucket begins
 * empty, or else a single late answer would bring turns that other processes already have.
 */
export class Between implements SharedBucket {
  readonly #with: BetweenOptions
  readonly #asked: Asked
  /** Undefined while there are answers. */
  #own: OwnBucket | undefined
  #back = new AbortController()
  #wasShared = false
  #waiting = 0
  #probedAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: BetweenOptions) {
    this.#with = options
    this.#asked = options.asked((isThere) => (isThere ? this.#join() : this.#lose()))
  }

  async take(turn: Turn): Promise<void> {
    for (;;) {
      try {
        await (this.#own === undefined ? this.#asked.take(turn) : this.#takeOwn(this.#own, turn))
        return
      } catch (error) {
        // Where this bucket is the `own` of another Between, that one aborts the signal with Moved to take its turns back.
        if (!(error instanceof Moved) || turn.signal.aborted) throw error
      }
    }
  }

  pauseFor(ms: number): void {
    this.#asked.pauseFor(ms)
    this.#own?.pauseFor(ms)
  }

  async promise(key: string | undefined): Promise<number> {
    if (this.#own !== undefined) return this.#own.promise(key)
    try {
      return await this.#asked.promise(key)
    } catch (error) {
      if (!(error instanceof Moved)) throw error
      return this.promise(key)
    }
  }

  empty(): void {
    this.#asked.wasAlone = true
    this.#own?.empty()
  }

  get available(): number {
    return (this.#own ?? this.#asked).available
  }

  get isShared(): boolean {
    return this.#own === undefined && this.#wasShared
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#asked.close()
  }

  async #takeOwn(own: OwnBucket, turn: Turn): Promise<void> {
    turn.signal.throwIfAborted()
    this.#probe()
    const signal = AbortSignal.any([turn.signal, this.#back.signal])
    this.#waiting++
    try {
      await own.take({ ...turn, signal })
    } finally {
      this.#waiting--
    }
    this.#asked.wasAlone = true
    this.#with.spent()
  }

  /** Changes to the own bucket, until the shared one answers. */
  #lose(): void {
    if (this.#own !== undefined) return
    this.#own = this.#with.own()
    if (this.#wasShared) this.#own.empty()
    const { pauseMs } = this.#asked
    if (pauseMs > 0) this.#own.pauseFor(pauseMs)
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
      this.#asked.probe()
    }
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#waiting > 0) this.#probe()
    }, PROBE_MS)
    // Unreferenced: the own bucket's timer already keeps the process alive for those who wait.
    this.#timer.unref()
  }
}
