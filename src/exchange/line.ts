/** One exchange's request for a turn of the budget. */
export interface Turn {
  readonly signal: AbortSignal
  /** Epoch milliseconds. */
  readonly deadline: number
  /** Identifies it when it comes back. Without a key nothing is promised to it. */
  readonly key?: string | undefined
  /** All others go first. */
  readonly background?: boolean | undefined
}

/** Callers that were told to come back go first, then other callers, then the background; each in the order of arrival. */
export const TOLD = 0
export const COMING = 1
export const BACKGROUND = 2
export type Rank = typeof TOLD | typeof COMING | typeof BACKGROUND

/** An exchange that waits for a turn. */
export interface Waiting {
  readonly turn: Turn
  rank: Rank
  /** Its turn has come. */
  leave(): void
  refuse(error: Error): void
}

/** The exchanges that wait for a turn. */
export class Line {
  readonly #queues: readonly Set<Waiting>[] = [new Set(), new Set(), new Set()]

  /**
   * Puts an exchange at the end of a rank, where it waits until `leave` or `refuse` is called, or its own signal is aborted.
   *
   * @param dropped called after its signal was aborted
   */
  enter(rank: Rank, turn: Turn, dropped: (waiting: Waiting) => void): Entered {
    const { signal } = turn
    let waiting!: Waiting
    const left = new Promise<void>((resolve, reject) => {
      const stay = (): void => signal.removeEventListener('abort', gone)
      const gone = (): void => {
        this.remove(waiting)
        dropped(waiting)
        reject(signal.reason as Error)
      }
      waiting = {
        turn,
        rank,
        leave() {
          stay()
          resolve()
        },
        refuse(error) {
          stay()
          reject(error)
        },
      }
      signal.addEventListener('abort', gone, { once: true })
    })
    this.#queues[rank]!.add(waiting)
    return { waiting, left }
  }

  /** Puts it at the end of another rank, even if it was removed before. */
  move(waiting: Waiting, rank: Rank): void {
    this.remove(waiting)
    waiting.rank = rank
    this.#queues[rank]!.add(waiting)
  }

  remove(waiting: Waiting): boolean {
    return this.#queues[waiting.rank]!.delete(waiting)
  }

  has(waiting: Waiting): boolean {
    return this.#queues[waiting.rank]!.has(waiting)
  }

  /** How many wait in this rank and before it. */
  upTo(rank: Rank): number {
    let waiting = 0
    for (let at = 0; at <= rank; at++) waiting += this.#queues[at]!.size
    return waiting
  }

  of(rank: Rank): number {
    return this.#queues[rank]!.size
  }

  /** The first one first. Any of them may be removed during the iteration. */
  *inOrder(): Generator<Waiting> {
    for (const queue of this.#queues) yield* queue
  }
}

export interface Entered {
  readonly waiting: Waiting
  /** Resolves when its turn has come. */
  readonly left: Promise<void>
}
