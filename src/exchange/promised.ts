const EARLY_MS = 250
/** How long a caller may be late and still find its place. */
const LATE_SECONDS = 5
/** The latest time that may be promised, in seconds from now. */
const HORIZON_SECONDS = 60
/** The weight of the last promise in the moving share of promises that are kept. */
const WEIGHT = 0.05

/**
 * The queue of callers that were told when to come back. Each is known by the key of its exchange, and has a place in the
 * second that it was told. One that does not come loses its place five seconds later.
 */
export class Promised {
  readonly #dueAt = new Map<string, number>()
  readonly #bySecond = new Map<number, Set<string>>()
  #sweptAt = 0
  #kept = 1

  /** How many may still come back. */
  get size(): number {
    return this.#dueAt.size
  }

  give(key: string, dueAt: number): void {
    this.#remove(key)
    const second = secondOf(dueAt)
    const others = this.#bySecond.get(second) ?? new Set()
    this.#bySecond.set(second, others.add(key))
    this.#dueAt.set(key, dueAt)
  }

  /** When the caller was told to come back, in epoch milliseconds. */
  dueAt(key: string): number | undefined {
    return this.#dueAt.get(key)
  }

  /** Whether the caller was told to come back, and is not too early. */
  isDue(key: string, now: number): boolean {
    const dueAt = this.#dueAt.get(key)
    return dueAt !== undefined && now >= dueAt - EARLY_MS
  }

  /** Frees the place of a caller that came back and is served. */
  redeem(key: string): void {
    if (this.#remove(key)) this.#kept += WEIGHT * (1 - this.#kept)
  }

  /** Frees the places of callers that did not come back. */
  sweep(now: number): void {
    const second = secondOf(now)
    if (second === this.#sweptAt) return
    this.#sweptAt = second
    for (const [due, keys] of this.#bySecond) {
      // A second that is too far ahead means that the clock was set back.
      if (due >= second - LATE_SECONDS && due <= second + HORIZON_SECONDS + 1) continue
      for (const key of keys) {
        this.#dueAt.delete(key)
        this.#kept -= WEIGHT * this.#kept
      }
      this.#bySecond.delete(due)
    }
  }

  /**
   * How many callers to expect back before a turn, which each of them moves further away. They are weighted by the share of
   * promises that were kept lately, because some callers never come back.
   *
   * @param waitBehind in how many milliseconds the turn comes with so many more before it
   */
  expected(now: number, waitBehind: (more: number) => number): number {
    let more = 0
    const last = secondOf(now) + HORIZON_SECONDS
    for (let second = secondOf(now) - LATE_SECONDS; second <= last; second++) {
      if (second * 1_000 > now + waitBehind(more)) break
      more += (this.#bySecond.get(second)?.size ?? 0) * this.#kept
    }
    return more
  }

  #remove(key: string): boolean {
    const dueAt = this.#dueAt.get(key)
    if (dueAt === undefined) return false
    const second = secondOf(dueAt)
    const others = this.#bySecond.get(second)
    others?.delete(key)
    if (others?.size === 0) this.#bySecond.delete(second)
    return this.#dueAt.delete(key)
  }
}

function secondOf(time: number): number {
  return Math.floor(time / 1_000)
}
