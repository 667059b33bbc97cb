import { ExpectedEnd } from '../errors.ts'
import type { Bucket, OwnBucket } from './bucket.ts'
import type { Turn } from './line.ts'

/** A bucket that others share, and that is asked for turns. Where there is no answer whoever waits is {@link Moved}. */
export interface Asked extends Bucket {
  /** How long the issuer wants to be left alone, as far as is known here, in milliseconds. */
  readonly pauseMs: number
  /** Turns were spent beside it, of which it does not know: it is told with what is asked next. */
  wasAlone: boolean
  /** Asks although nobody waits: whether there is an answer. */
  probe(): void
  close(): void
}

/** The line is closed here: who waited is to ask again. */
export class Moved extends ExpectedEnd {
  constructor() {
    super('the line is closed')
  }
}

export interface BetweenOptions {
  /** @param answered to be told of each answer, and of each that did not come */
  readonly asked: (answered: (isThere: boolean) => void) => Asked
  /** What there is while there is no answer. Chosen each time that this begins. */
  readonly own: () => OwnBucket
  /** Told of each turn of that. */
  readonly spent: () => void
}

/** A bucket that is shared with others as long as they can be asked. */
export interface SharedBucket extends OwnBucket {
  /** Whether it is: else there is a share that nobody else spends. */
  readonly isShared: boolean
  close(): void
}

/** While there is no answer, whether there is one again is found out so often, as long as somebody needs turns. */
const PROBE_MS = 100

/**
 * A bucket that is asked, and another one while there is no answer. Who waits when that changes waits on, in the same order:
 * nobody is refused for it. What is one's own begins with nothing where the budget was shared before, so that an answer that
 * comes late once brings no turn that others have.
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
        // Who was moved by whoever asked this one has left.
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

  /** For itself, until there is an answer. */
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
    // Who waits has a timer of the own bucket's.
    this.#timer.unref()
  }
}
