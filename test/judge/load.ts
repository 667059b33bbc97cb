/** What `npm run judge` is made of. */
import type { Scope } from '../system.ts'

/** A heavy load. `npm test` runs the same one in a smaller size. */
export interface Load {
  readonly name: string
  /** What is held to be true. */
  readonly claim: string
  /** The longest that the full size may take, in milliseconds. */
  readonly limitMs: number
  /** Runs it in full. */
  judge(scope: Scope, seed: number, more?: More): Promise<Finding>
}

/** What else may be said on the command line. */
export interface More {
  /** Of the gateway, where a load may be judged over several. */
  readonly processes?: number | undefined
}

/** What a load found. */
export interface Finding {
  /** What was counted, in the order of telling. */
  readonly counts: Readonly<Record<string, number | string>>
  /** What did not hold, in words; empty when everything did. */
  readonly faults: readonly string[]
}

const MOST_FAULTS_TOLD = 20

/** Gathers what does not hold. Counts all of it, and keeps the first few in words. */
export class Faults {
  readonly #told: string[] = []
  #count = 0

  add(fault: string): void {
    this.#count++
    if (this.#told.length < MOST_FAULTS_TOLD) this.#told.push(fault)
  }

  /** Adds the fault unless the two are the same. */
  unless(actual: unknown, expected: unknown, what: string): void {
    if (actual !== expected) this.add(`${what}: ${String(actual)}, expected ${String(expected)}`)
  }

  get told(): readonly string[] {
    const untold = this.#count - this.#told.length
    return untold === 0 ? this.#told : [...this.#told, `and ${untold} more`]
  }
}

/** Runs something, and ends what it started, the last first, whatever became of it. */
export async function scoped<Value>(run: (scope: Scope) => Promise<Value>): Promise<Value> {
  const ends: (() => unknown)[] = []
  try {
    return await run({ after: (end) => void ends.push(end) })
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

/** @throws {Error} it took longer than that, in milliseconds */
export async function within<Value>(
  limitMs: number,
  what: string,
  value: Promise<Value>,
): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${limitMs} ms`)), limitMs)
  })
  try {
    return await Promise.race([value, late])
  } finally {
    clearTimeout(timer)
  }
}
