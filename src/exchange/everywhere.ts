import { randomUUID } from 'node:crypto'
import type { Seals } from '../store/seal.ts'
import type { SharedStore } from '../store/shared.ts'
import type { Purges } from './purge.ts'

/** The purges of all replicas. */
export interface Everywhere {
  /** Tells the other replicas what was purged here, at once or as soon as Redis is back. */
  tell(tags: readonly string[]): void
  /** Whether one of these tags was purged here, and the shared level does not know of it yet. */
  isUntold(tags: readonly string[]): boolean
  /**
   * When one of these tags was last purged, by Redis' own clock, in epoch milliseconds; 0: never. This replica remembers
   * what Redis has told it, because Redis may have lost its marks since.
   */
  purgedAt(tags: readonly string[]): number
  close(): void
}

/** How often a replica asks Redis for purges, in milliseconds: a purge reaches all replicas within that time. */
const LISTEN_EVERY_MS = 1_000
/** The name that messages to the other replicas are sealed for. */
const NAME = 'behalf:purges'

/**
 * Asks Redis for purges once a second, because a hit in memory asks nobody. A replica that was cut off learns of all purges
 * that it missed, up to ten thousand.
 */
export function purgingEverywhere(store: SharedStore, seals: Seals, purges: Purges): Everywhere {
  const own = randomUUID()
  const untold = new Set<readonly string[]>()
  const times = new Times()
  let heard = 0

  async function tellNow(tags: readonly string[]): Promise<void> {
    const value = seals.seal(NAME, JSON.stringify({ by: own, tags }), '')
    const marks = tags.flatMap((tag) => seals.marks(tag))
    const at = await store.purge(marks, value)
    if (at === undefined) return
    times.set(tags, at)
    untold.delete(tags)
  }

  async function listen(): Promise<void> {
    for (const tags of untold) await tellNow(tags)
    const told = await store.told(heard)
    if (told === undefined) return
    heard = told.count
    for (const { value, at } of told.purges) hear(seals.open(NAME, value, ''), at)
  }

  /** A purge of this replica's own is not marked again, or else it would drop tokens that were issued after it. */
  function hear(text: string | undefined, at: number): void {
    const told = text === undefined ? undefined : messageOf(text)
    if (told === undefined) return
    times.set(told.tags, at)
    if (told.by !== own) purges.mark(told.tags)
  }

  let listening = false
  function listenOnce(): void {
    if (listening) return
    listening = true
    void listen().finally(() => (listening = false))
  }
  // A replica that starts learns of earlier purges at once.
  void store.started.then(listenOnce)
  const timer = setInterval(listenOnce, LISTEN_EVERY_MS)
  timer.unref()

  return {
    tell(tags) {
      untold.add(tags)
      void tellNow(tags)
    },
    isUntold: (tags) =>
      untold.size > 0 && [...untold].some((purged) => purged.some((tag) => tags.includes(tag))),
    purgedAt: (tags) => times.latest(tags),
    close: () => clearInterval(timer),
  }
}

interface Message {
  /** The replica that purged. */
  readonly by: string
  readonly tags: readonly string[]
}

/** Undefined for a message of another shape, such as one of a later version: it must not end the process. */
function messageOf(text: string): Message | undefined {
  try {
    const { by, tags } = JSON.parse(text) as Partial<Message>
    const isMessage = typeof by === 'string' && Array.isArray(tags)
    return isMessage && tags.every((tag) => typeof tag === 'string') ? { by, tags } : undefined
  } catch {
    return undefined
  }
}

/** Beyond that the oldest purge counts as one of everything: that drops more than was asked, never less. */
const REMEMBERED = 10_000

class Times {
  readonly #times = new Map<string, number>()
  #everything = 0

  set(tags: readonly string[], at: number): void {
    for (const tag of tags) {
      const latest = Math.max(at, this.#times.get(tag) ?? 0)
      // Deleted first, so that the map stays in the order in which purges were heard of.
      this.#times.delete(tag)
      this.#times.set(tag, latest)
      if (this.#times.size <= REMEMBERED) continue
      const [oldest, time] = this.#times.entries().next().value!
      this.#times.delete(oldest)
      this.#everything = Math.max(this.#everything, time)
    }
  }

  latest(tags: readonly string[]): number {
    if (this.#times.size === 0) return 0
    return Math.max(this.#everything, ...tags.map((tag) => this.#times.get(tag) ?? 0))
  }
}
