import { hash } from 'node:crypto'
import { canonicalJson } from '../exchange/key.ts'

/** Parts that outlive a reload: caches, counts and connections stay where the next configuration wants the same. */
export interface Lasting {
  lease(): Lease
}

/** The parts that one configuration uses. */
export interface Lease {
  /**
   * Returns the part of this kind that was made of the same, or makes it now. Whatever `make` uses must be in `of`, or
   * outlive every lease.
   *
   * @param of what the part is made of, as plain data
   * @param end called when no lease uses the part any more
   */
  use<Part>(kind: string, of: unknown, make: () => Part, end?: (part: Part) => unknown): Part
  /** Adds something that belongs to this lease alone, and ends with it. */
  own(end: () => unknown): void
  /** Ends the parts that no other lease uses, the last one first, because later parts may use earlier ones. Works once. */
  release(): Promise<void>
}

interface Lasts {
  readonly part: unknown
  readonly end: () => unknown
  users: number
}

export function createLasting(): Lasting {
  const known = new Map<string, Lasts>()

  async function leave(name: string, one: Lasts): Promise<void> {
    if (--one.users > 0) return
    known.delete(name)
    await one.end()
  }

  function lease(): Lease {
    const used = new Set<string>()
    const ends: (() => unknown)[] = []
    return {
      use<Part>(kind: string, of: unknown, make: () => Part, ended?: (part: Part) => unknown) {
        const name = `${kind} ${hash('sha256', canonicalJson(of ?? null), 'base64url')}`
        const one = known.get(name) ?? lastsAs(make(), ended)
        known.set(name, one)
        if (used.has(name)) return one.part as Part
        used.add(name)
        one.users++
        ends.push(() => leave(name, one))
        return one.part as Part
      },
      own: (end) => void ends.push(end),
      async release() {
        for (let end = ends.pop(); end !== undefined; end = ends.pop()) await end()
      },
    }
  }
  return { lease }
}

function lastsAs<Part>(part: Part, ended?: (part: Part) => unknown): Lasts {
  return { part, end: () => ended?.(part), users: 0 }
}
