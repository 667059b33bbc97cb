/** What became of each case, and the cases that end otherwise than their authors say, by the reason why. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'

/** The names of the cases that deviate, by reason. */
export type Deviations = Readonly<Record<string, readonly (number | string)[]>>

export class Outcomes {
  readonly #deviations: ReadonlyMap<number | string, string>
  readonly #counts = new Map<string, number>()
  readonly #wrong: string[] = []
  #cases = 0

  constructor(deviations: Deviations) {
    this.#deviations = new Map(
      Object.entries(deviations).flatMap(([reason, names]) => names.map((name) => [name, reason])),
    )
  }

  /** A case that ended; one that is named as a deviation must deviate. */
  add(name: number | string, expected: string, actual: string): void {
    this.#cases++
    const reason = this.#deviations.get(name)
    if ((expected === actual) === (reason === undefined)) {
      this.#count(reason === undefined ? `${actual} as expected` : `deviates: ${reason}`)
    } else {
      this.#wrong.push(`${name}: ${actual} where ${expected} is expected`)
    }
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
  }

  /** Prints the counts. Each case must have ended as it was to end, and there must be as many. */
  tell(t: TestContext, cases: number): void {
    t.diagnostic(`${this.#cases} cases`)
    for (const what of [...this.#counts.keys()].sort()) {
      t.diagnostic(`  ${this.#counts.get(what)} ${what}`)
    }
    assert.deepEqual(this.#wrong, [])
    assert.equal(this.#cases, cases)
  }
}
