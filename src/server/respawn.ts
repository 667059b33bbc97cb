/** A worker that lived this long, in milliseconds, ends a row of failures: its own end is the first of a new row. */
const WELL_MS = 60_000
const FIRST_MS = 100
const LONGEST_MS = 30_000
/** With the waits between them, more than a minute without a worker that lasted. */
const MOST_IN_A_ROW = 10

/** When a worker that ended is started again: after 100 ms, then after twice as long each time, and in the end never. */
export class Respawn {
  #inARow = 0
  readonly #most: number

  /** @param most how many may end in a row, and be started again. Default 10 */
  constructor(most = MOST_IN_A_ROW) {
    this.#most = most
  }

  /** How many workers ended in a row soon after their start. */
  get inARow(): number {
    return this.#inARow
  }

  /** How long to wait before the next start, in milliseconds, after a worker that lived so long; undefined: not any more. */
  after(livedMs: number): number | undefined {
    this.#inARow = livedMs >= WELL_MS ? 1 : this.#inARow + 1
    if (this.#inARow > this.#most) return undefined
    return Math.min(FIRST_MS * 2 ** (this.#inARow - 1), LONGEST_MS)
  }

  /** Begins a new row: what ended the workers may have been mended. */
  forget(): void {
    this.#inARow = 0
  }
}
