import type { Kind, View } from './kind.ts'

/** A tenant whose reads are behind its writes, for a while. */
export interface Lag {
  /** From now on reads tell what was there before, for so many milliseconds. */
  start(delayMs: number): void
  read(kind: Kind): readonly View[]
}

/** @param now in epoch milliseconds */
export function createLag(kinds: readonly Kind[], now: () => number): Lag {
  let past: { readonly views: ReadonlyMap<Kind, readonly View[]>; readonly until: number }
  past = { views: new Map(), until: Number.NEGATIVE_INFINITY }
  const read = (kind: Kind): readonly View[] =>
    (now() < past.until ? past.views.get(kind) : undefined) ?? kind.views()
  return {
    start(delayMs) {
      const views = new Map(kinds.map((kind) => [kind, structuredClone(read(kind))] as const))
      past = { views, until: now() + delayMs }
    },
    read,
  }
}
