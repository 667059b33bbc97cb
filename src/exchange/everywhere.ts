import { randomUUID } from 'node:crypto'
import type { Seals } from '../store/seal.ts'
import type { SharedStore } from '../store/shared.ts'
import type { Purges } from './purge.ts'

/** The purges of all replicas. */
export interface Everywhere {
  /** Tells the others what was purged here, at once or when they can be told. */
  tell(tags: readonly string[]): void
  /** Whether one of these tags was purged here, and the shared level does not know of it yet. */
  isUntold(tags: readonly string[]): boolean
  close(): void
}

/** So long does it take until the others know. */
const LISTEN_EVERY_MS = 1_000
/** What the others are told is sealed for this name. */
const NAME = 'behalf:purges'

/**
 * Hears of purges once a second, since a hit in memory asks nobody. Who was cut off hears of all that it missed when it is
 * back, up to ten thousand.
 */
export function purgingEverywhere(store: SharedStore, seals: Seals, purges: Purges): Everywhere {
  const own = randomUUID()
  const untold = new Set<readonly string[]>()
  let heard = 0

  async function tellNow(tags: readonly string[]): Promise<void> {
    const value = seals.seal(NAME, JSON.stringify({ by: own, tags }), '')
    const marks = tags.flatMap((tag) => seals.marks(tag))
    if (await store.purge(marks, value)) untold.delete(tags)
  }

  async function listen(): Promise<void> {
    for (const tags of untold) await tellNow(tags)
    const told = await store.told(heard)
    if (told === undefined) return
    heard = told.count
    for (const value of told.values) hear(seals.open(NAME, value, ''))
  }

  /** What this replica purged itself it does not forget twice. */
  function hear(text: string | undefined): void {
    if (text === undefined) return
    const { by, tags } = JSON.parse(text) as { readonly by: string; readonly tags: string[] }
    if (by !== own) purges.mark(tags)
  }

  let listening = false
  const timer = setInterval(() => {
    if (listening) return
    listening = true
    void listen().finally(() => (listening = false))
  }, LISTEN_EVERY_MS)
  timer.unref()

  return {
    tell(tags) {
      untold.add(tags)
      void tellNow(tags)
    },
    isUntold: (tags) =>
      untold.size > 0 && [...untold].some((purged) => purged.some((tag) => tags.includes(tag))),
    close: () => clearInterval(timer),
  }
}
