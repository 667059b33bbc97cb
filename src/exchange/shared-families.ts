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
  /** The families of this process alone: those that cannot be shared, or could not be when they came. */
  readonly local: Families
  readonly store: SharedTakingStore
  readonly seals: Seals
  readonly everywhere: Everywhere
  readonly purges: Purges
  /** Share families that rest on the sealing key alone: then a refreshed subject token finds its family at every replica. */
  readonly shareContext: boolean
  readonly metrics: Metrics
}

/** What a look-up found, and why a family that was there was not used. */
type Outcome =
  ('taken' | 'none' | 'local' | 'unavailable') | ('unreadable' | 'oversized' | 'purged' | 'refused')

/** How often a refusal that could not be written to Redis is tried again, in milliseconds. */
const TELL_EVERY_MS = 1_000
const UNTOLD_MOST = 10_000

/** A name that a family may have in Redis, and the secret that it is sealed with. */
interface Berth {
  readonly name: string
  readonly secret: string
}

/** The berths of a permit: all are looked up, and `own` is written to. */
interface Berths {
  readonly key: string
  readonly all: readonly Berth[]
  readonly tags: readonly string[]
  /** Undefined: this permit's family is not to be shared. */
  readonly own: Berth | undefined
}

/**
 * Families that all replicas share: one that any replica put is taken by one replica, and used once. A family is in one
 * place only: in Redis, or, where Redis could not be reached, in the process that received it. It is lost when its taker
 * dies, or when Redis' answer is lost: either costs one exchange, and no request waits for it.
 *
 * A family outlives the subject token that it came from. Without `shareContext` it is sealed with that token all the same,
 * so that only that token finds it. Where the key does not rest on a token, it then stays in the process.
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
        // A family that came while Redis was gone is in this process, and nowhere else.
        const refreshToken = found?.refreshToken ?? (await local.take())
        if (refreshToken !== undefined && found?.refreshToken === undefined) this.#count('local')
        return refreshToken
      },
      put: async (refreshToken) => {
        if (!local.isGood) return
        const { own } = berths
        // Without the time of the take Redis cannot tell whether a refusal came later: the token stays in this process.
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
    // If no answer comes the token may be in Redis all the same: it is not kept here as well.
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
      // Redis could not be told of this one, so the others are not tried.
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
  /** By Redis' own clock, which purges and refusals are timed by, in epoch milliseconds. */
  readonly takenAt: number
}

function namesOf({ all }: Berths): readonly string[] {
  return all.map(({ name }) => name)
}

/** Undefined: the value was not sealed for this name and this permit, or holds no family. */
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
