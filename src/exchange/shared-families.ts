import { parseJson } from '../authenticate/json.ts'
import type { Permit } from '../authorize/authorize.ts'
import type { Metrics } from '../metrics.ts'
import type { Seals } from '../store/seal.ts'
import type { SharedTakingStore, TakenOut } from '../store/shared-taking.ts'
import type { Everywhere } from './everywhere.ts'
import { type Families, KEPT_FOR_MS, type Place, REFUSED_FOR_MS } from './families.ts'
import { familyKey, isOfToken } from './key.ts'
import { type Purges, tagsOf } from './purge.ts'

export interface SharingFamiliesOptions {
  /** What this process has alone: what cannot be shared, or not now. */
  readonly local: Families
  readonly store: SharedTakingStore
  readonly seals: Seals
  readonly everywhere: Everywhere
  readonly purges: Purges
  /** Share what rests on the sealing key alone: then a refreshed subject token takes a family over, at every replica. */
  readonly shareContext: boolean
  readonly metrics: Metrics
}

/** How a family was looked for, and why what was there was not used. */
type Outcome =
  ('taken' | 'none' | 'local' | 'unavailable') | ('unreadable' | 'oversized' | 'purged' | 'refused')

/** So often is Redis told of a refusal that it could not be told of at once. */
const TELL_EVERY_MS = 1_000
const UNTOLD_MOST = 10_000

/** Where a family may be, and what it is sealed with. */
interface Berth {
  readonly name: string
  readonly secret: string
}

/** Those of a permit: the first is put to, all are looked up. */
interface Berths {
  readonly key: string
  readonly all: readonly Berth[]
  readonly tags: readonly string[]
  /** Undefined: what this permit has is not to be shared. */
  readonly own: Berth | undefined
}

/**
 * Families of all replicas: one that any of them put is taken by one of them, and used once. A family is in one place: in Redis, or
 * where that cannot be reached in the process that was given it, alone. A taker that dies takes it along, and so does an answer that
 * is lost: either costs an exchange, and nobody waits for it.
 *
 * A family outlives the subject token that it came of. Without `shareContext` it is sealed with that token all the same, and is
 * found by that one alone; and where the key belongs to no token at all, it stays in the process.
 */
export function sharingFamilies(options: SharingFamiliesOptions): Families & { close(): void } {
  const shared = new SharedFamilies(options)
  return { placeOf: (permit) => shared.placeOf(permit), close: () => shared.close() }
}

class SharedFamilies {
  readonly #with: SharingFamiliesOptions
  readonly #untold = new Map<string, readonly string[]>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: SharingFamiliesOptions) {
    this.#with = options
  }

  placeOf(permit: Permit): Place {
    const local = this.#with.local.placeOf(permit)
    const berths = this.#berthsOf(permit)
    let takenAt: number | undefined
    return {
      take: async () => {
        const found = await this.#take(berths)
        takenAt = found?.at
        // What was given while Redis was gone, and is nowhere else.
        const refreshToken = found?.refreshToken ?? (await local.take())
        if (refreshToken !== undefined && found?.refreshToken === undefined) this.#count('local')
        return refreshToken
      },
      put: async (refreshToken) => {
        if (!local.isGood) return
        const { own } = berths
        // Who did not learn when it took may not put there: nobody could tell whether a refusal was later.
        if (own === undefined || takenAt === undefined || !this.#with.store.isConnected) {
          await local.put(refreshToken)
        } else {
          await this.#put(own, { refreshToken, tags: berths.tags, takenAt })
        }
      },
      refuse: async () => {
        await local.refuse()
        await this.#refuse(berths.key, namesOf(berths))
      },
      get isGood() {
        return local.isGood
      },
    }
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  #berthsOf(permit: Permit): Berths {
    const { seals, shareContext } = this.#with
    const key = familyKey(permit)
    const of = (named: string, secret: string): readonly Berth[] =>
      seals.named('family', named).map((name) => ({ name, secret }))
    const ofContext = of(key, '')
    const ofToken = isOfToken(permit)
      ? of(`${key} ${permit.subject.digest}`, permit.subject.value)
      : []
    const own = shareContext ? ofContext[0] : ofToken[0]
    return { key, own, all: [...ofContext, ...ofToken], tags: tagsOf(permit) }
  }

  async #take(
    berths: Berths,
  ): Promise<{ at: number; refreshToken: string | undefined } | undefined> {
    const { store, seals, everywhere } = this.#with
    const { key, all, tags } = berths
    const marks = tags.flatMap((tag) => seals.marks(tag))
    const taken = await store.take(namesOf(berths), marks)
    if (taken === undefined) {
      this.#count('unavailable')
      return undefined
    }
    let outcome: Outcome = 'none'
    let refreshToken: string | undefined
    for (const [index, value] of taken.values.entries()) {
      if (value === undefined) continue
      const family = value === 'oversized' ? undefined : open(seals, all[index]!, value)
      if (family === undefined) outcome = value === 'oversized' ? 'oversized' : 'unreadable'
      else if (this.#untold.has(key) || taken.refusedAt >= family.takenAt) outcome = 'refused'
      else if (isPurged(family, taken, everywhere)) outcome = 'purged'
      else {
        refreshToken = family.refreshToken
        outcome = 'taken'
        break
      }
      this.#count(outcome)
    }
    if (outcome === 'taken' || outcome === 'none') this.#count(outcome)
    return { at: taken.at, refreshToken }
  }

  async #put({ name, secret }: Berth, family: SharedFamily): Promise<void> {
    const { store, seals } = this.#with
    const value = seals.seal(name, JSON.stringify(family), secret)
    const { takenAt } = family
    // Without an answer it may be there: nobody keeps another one.
    await store.put({ name, value, ttlMs: KEPT_FOR_MS, takenAt })
  }

  async #refuse(key: string, names: readonly string[]): Promise<void> {
    this.#untold.set(key, names)
    if (await this.#with.store.refuse(names, REFUSED_FOR_MS)) {
      this.#untold.delete(key)
      return
    }
    const [oldest] = this.#untold.keys()
    if (this.#untold.size > UNTOLD_MOST && oldest !== undefined) this.#untold.delete(oldest)
    this.#timer ??= setTimeout(() => void this.#tellAgain(), TELL_EVERY_MS).unref()
  }

  async #tellAgain(): Promise<void> {
    this.#timer = undefined
    for (const [key, names] of [...this.#untold]) {
      await this.#refuse(key, names)
      // While it cannot be told of one it cannot be told of any.
      if (this.#untold.has(key)) return
    }
  }

  #count(outcome: Outcome): void {
    const help = 'Families of refresh tokens that were looked for, by what was found.'
    this.#with.metrics.counter('behalf_refresh_families_total', help, { outcome }).value++
  }
}

interface SharedFamily {
  readonly refreshToken: string
  readonly tags: readonly string[]
  /** By Redis' own clock, which purges and refusals are timed by. */
  readonly takenAt: number
}

function namesOf({ all }: Berths): readonly string[] {
  return all.map(({ name }) => name)
}

/** Undefined: it was not sealed for this name and this permit, or is none of ours. */
function open(seals: Seals, { name, secret }: Berth, value: Buffer): SharedFamily | undefined {
  const text = seals.open(name, value, secret)
  if (text === undefined) return undefined
  const { refreshToken, tags, takenAt } = parseJson(text) as Readonly<Record<string, unknown>>
  if (typeof refreshToken !== 'string' || typeof takenAt !== 'number') return undefined
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string')) return undefined
  return { refreshToken, tags, takenAt }
}

function isPurged(
  { tags, takenAt }: SharedFamily,
  { markedAt }: TakenOut,
  everywhere: Everywhere,
): boolean {
  return markedAt >= takenAt || everywhere.isUntold(tags) || everywhere.purgedAt(tags) >= takenAt
}
