/** How long a worker must have lived for its end to be the first of a row again, in milliseconds. */
const WELL_MS = 60_000
const FIRST_MS = 100
const LONGEST_MS = 30_000
/** With the waits between them, more than a minute of nothing but failures. */
const MOST_IN_A_ROW = 10

/** When a worker that ended is started again: at once almost, then half as often each time, and in the end not any more. */
export class Respawn {
  #inARow = 0
  readonly #most: number

  /** @param most how many may end in a row, and be started again. Default 10 */
  constructor(most = MOST_IN_A_ROW) {
    this.#most = most
  }

  /** How many ended soon after their start, one after the other. */
  get inARow(): number {
    return this.#inARow
  }

  /** In how many milliseconds the next one is to start, after one that lived so long; undefined: not any more. */
  after(livedMs: number): number | undefined {
    this.#inARow = livedMs >= WELL_MS ? 1 : this.#inARow + 1
    if (this.#inARow > this.#most) return undefined
    return Math.min(FIRST_MS * 2 ** (this.#inARow - 1), LONGEST_MS)
  }

  /** Whatever it was may have been mended. */
  forget(): void {
    this.#inARow = 0
  }
}
