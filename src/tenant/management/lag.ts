import type { Kind, View } from './kind.ts'

/** For a while, lets reads return the state before the latest writes. */
export interface Lag {
  /** For so many milliseconds, reads return the objects as they are now. */
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
