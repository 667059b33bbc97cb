import type { Permit } from '../authorize/authorize.ts'
import { createMemoryStore } from '../store/memory.ts'
import type { TakingStore } from '../store/taking.ts'
import { familyKey } from './key.ts'
import { type Purges, tagsOf } from './purge.ts'

/** The newest refresh token of a family, for the user and the context whose exchange returned the first one. */
export interface Family {
  readonly refreshToken: string
  /** The tags it can be purged by. */
  readonly tags: readonly string[]
  /** Purges up to this generation do not concern it. */
  readonly generation: number
}

/** A subject that comes back later costs an exchange. Issuers rarely say how long refresh tokens live. */
export const KEPT_FOR_MS = 86_400_000
/** Longer than any exchange takes, so that a family taken before a refusal is not put back after it. */
export const REFUSED_FOR_MS = 600_000
const REFUSED = { maxEntries: 10_000, maxBytes: 16 * 1024 * 1024 }

/** A permit's place in the store, for as long as one exchange or refresh takes. */
export interface Place {
  /** Takes the family out: nobody else has it from then on. Undefined: there is none, or the store cannot be reached. */
  take(): Promise<string | undefined>
  /** Stores a token, unless it was purged or its subject refused since. If the store cannot be reached the token is lost. */
  put(refreshToken: string): Promise<void>
  /** Removes the family for good: whoever has taken it cannot put it back. */
  refuse(): Promise<void>
  /** Whether `put` would store a token now: it was not purged since, nor its subject refused. */
  readonly isGood: boolean
}

export interface Families {
  placeOf(permit: Permit): Place
}

export function createFamilies(store: TakingStore<Family>, purges: Purges): Families {
  const refused = createMemoryStore<{ readonly at: number }>(REFUSED)
  let refusals = 0
  const lastRefusal = (key: string): number => refused.get(key)?.at ?? 0

  return {
    placeOf(permit) {
      const key = familyKey(permit)
      const tags = tagsOf(permit)
      const { generation } = purges
      const refusal = lastRefusal(key)
      const isGood = (): boolean =>
        !purges.reaches(tags, generation) && lastRefusal(key) === refusal

      async function take(): Promise<string | undefined> {
        const family = await tried(() => store.take(key))
        if (family === undefined || purges.reaches(family.tags, family.generation)) return undefined
        return family.refreshToken
      }
      return {
        take,
        get isGood() {
          return isGood()
        },
        async put(refreshToken) {
          if (!isGood()) return
          const family = { refreshToken, tags, generation }
          await tried(() => store.put(key, family, KEPT_FOR_MS, weightOf(family)))
        },
        async refuse() {
          refused.set(key, { at: ++refusals }, REFUSED_FOR_MS, key.length)
          await take()
        },
      }
    },
  }
}

async function tried<Value>(use: () => Value | Promise<Value>): Promise<Value | undefined> {
  try {
    return await use()
  } catch {
    // The loss costs an exchange; no request fails.
    return undefined
  }
}

function weightOf({ refreshToken, tags }: Family): number {
  return tags.reduce((sum, { length }) => sum + length, refreshToken.length)
}
