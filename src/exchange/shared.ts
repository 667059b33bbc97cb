import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Metrics } from '../metrics.ts'
import { createMemoryStore, type Store } from '../store/memory.ts'
import type { Seals } from '../store/seal.ts'
import { KEPT_AT_MOST_MS, LEASE_MS, type SharedStore, type Taken } from '../store/shared.ts'
import { keep, type Kept } from './cache.ts'
import type { Everywhere } from './everywhere.ts'
import type { Ask, Exchange } from './exchange.ts'
import type { IssuedToken } from './issued.ts'
import { exchangeKey, isOfToken } from './key.ts'
import { type Purges, tagsOf } from './purge.ts'
import { openEntry, sealEntry, secretOf, type Shared } from './sealed.ts'

export interface SharingOptions {
  readonly store: SharedStore
  readonly seals: Seals
  /** The first level. */
  readonly memory: Store<Kept>
  readonly purges: Purges
  readonly everywhere: Everywhere
  /** Share entries that rest on the sealing key alone, too. */
  readonly shareContext: boolean
  readonly metrics: Metrics
}

/** The level that replicas share. */
export interface Sharing {
  /**
   * Answers with what any replica keeps; else one of them exchanges, and the others wait. Stands inside the join, so that
   * each replica looks a key up once.
   *
   * @throws {GatewayError} `exchange_unavailable` where another replica's exchange outlasts the deadline
   */
  shared(exchange: Exchange): Exchange
  /** Drops a key's token in both levels. With `refused` the shared level keeps its entry; that token is not used here. */
  delete(key: string, refused?: string): void
}

/** How a look-up was answered, and why an entry that was there was not used. */
type Outcome =
  | ('hit' | 'joined' | 'miss' | 'unavailable')
  | ('unreadable' | 'oversized' | 'expired' | 'purged' | 'known')

/** For how long a shared token that an upstream refused is not used, in milliseconds: by then it is replaced, or never. */
const REFUSED_FOR_MS = 60_000
const REFUSED = { maxEntries: 10_000, maxBytes: 32 * 1024 * 1024 }
/** A waiting replica asks again after a quarter of the time that it has waited, within these bounds. */
const WAIT_SHARE = 0.25
const SHORTEST_WAIT_MS = 10
const LONGEST_WAIT_MS = 250

/** The look-up of one request. */
interface Visit {
  readonly permit: Permit
  readonly ask: Ask
  readonly key: string
  readonly names: readonly string[]
  readonly claimant: string
  /** The tags that the entry can be purged by, as far as they are known. */
  readonly tags: Set<string>
}

interface Reading {
  /** The generation of purges before the look-up. */
  readonly generation: number
  readonly anew: boolean
}

export function sharing(options: SharingOptions): Sharing {
  const replicas = new Replicas(options)
  return {
    shared: (exchange) => (permit, ask) =>
      replicas.share(permit) ? replicas.visit(exchange, permit, ask) : exchange(permit, ask),
    delete: (key, refused) => replicas.drop(key, refused),
  }
}

class Replicas {
  readonly #with: SharingOptions
  readonly #refused = createMemoryStore<{ readonly value: string }>(REFUSED)

  constructor(options: SharingOptions) {
    this.#with = options
  }

  /** Entries that rest on the sealing key alone are shared only with `shareContext`, and never where a token is redeemed. */
  share(permit: Permit): boolean {
    if (isOfToken(permit)) return true
    return this.#with.shareContext && permit.route.exchange.grant !== 'refresh-token'
  }

  drop(key: string, refused: string | undefined): void {
    const { store, seals, memory } = this.#with
    memory.delete(key)
    if (refused === undefined) store.drop(seals.names(key))
    else this.#refused.set(key, { value: refused }, REFUSED_FOR_MS, refused.length)
  }

  async visit(exchange: Exchange, permit: Permit, ask: Ask): Promise<IssuedToken> {
    const { purges, store } = this.#with
    const one = this.#visitOf(permit, ask)
    const startedAt = performance.now()
    let anew = false
    let heldUntil = 0
    for (;;) {
      const { generation } = purges
      const taken = await this.#look(one, anew)
      if (taken === undefined) {
        // Redis did not answer. While the claim that was seen last is held, its holder may have exchanged: keep asking.
        if (performance.now() >= heldUntil || !store.isConnected) return this.#alone(exchange, one)
        await wait(ask, performance.now() - startedAt)
        continue
      }
      const found = ask.signal.aborted ? undefined : this.#read(one, taken, { generation, anew })
      if (found === 'again') continue
      const mine = taken.claim === 'mine'
      if (mine && (found !== undefined || ask.signal.aborted)) this.#release(one)
      ask.signal.throwIfAborted()
      if (found !== undefined) {
        this.#count(heldUntil > 0 ? 'joined' : 'hit')
        return this.#use(one, found, generation)
      }
      if (mine) return this.#fill(exchange, one, taken.at)
      if (taken.claim === 'held') {
        heldUntil = performance.now() + LEASE_MS
        await wait(ask, performance.now() - startedAt)
      } else if (anew) return this.#alone(exchange, one)
      else anew = true
    }
  }

  #visitOf(permit: Permit, ask: Ask): Visit {
    const key = exchangeKey(permit)
    const names = this.#with.seals.names(key)
    return { permit, ask, key, names, claimant: randomUUID(), tags: new Set(tagsOf(permit)) }
  }

  #look({ names, tags, claimant }: Visit, anew: boolean): Promise<Taken | undefined> {
    const { store, seals } = this.#with
    const marks = [...tags].flatMap((tag) => seals.marks(tag))
    return store.take({ names, marks, claimant, anew })
  }

  #release({ names, claimant }: Visit): void {
    this.#with.store.release(names[0]!, claimant)
  }

  /** Without Redis each replica exchanges for itself. */
  #alone(exchange: Exchange, { permit, ask }: Visit): ReturnType<Exchange> {
    this.#count('unavailable')
    return exchange(permit, ask)
  }

  /** The first entry that can be used; `again`: an entry can be purged by tags that were not looked up. */
  #read(one: Visit, { values, marks }: Taken, reading: Reading): Shared | 'again' | undefined {
    // A repeated look-up was counted the first time.
    const refuse = (outcome: Outcome): void => {
      if (!reading.anew) this.#count(outcome)
    }
    const purgedAt = Math.max(0, ...marks)
    for (const [index, value] of values.entries()) {
      if (value === undefined) continue
      const entry =
        value === 'oversized' ? undefined : this.#open(one.names[index]!, value, one.permit)
      if (entry === undefined) {
        refuse(value === 'oversized' ? 'oversized' : 'unreadable')
        continue
      }
      const unknown = entry.tags.filter((tag) => !one.tags.has(tag))
      if (unknown.length > 0) {
        for (const tag of unknown) one.tags.add(tag)
        return 'again'
      }
      const wrong = this.#faultOf(one, entry, purgedAt, reading)
      if (wrong === undefined) return entry
      refuse(wrong)
    }
    return undefined
  }

  #open(name: string, value: Buffer, permit: Permit): Shared | undefined {
    return openEntry(this.#with.seals, { name, value, permit })
  }

  #faultOf(
    { key }: Visit,
    { token, endsAt, askedAt, tags }: Shared,
    purgedAt: number,
    { generation }: Reading,
  ): Outcome | undefined {
    const { purges, everywhere, memory } = this.#with
    if (endsAt <= Date.now()) return 'expired'
    if (purgedAt >= askedAt || everywhere.isUntold(tags)) return 'purged'
    // Redis may have lost the mark but not the entry: it was full, or another server took over.
    if (everywhere.purgedAt(tags) >= askedAt) return 'purged'
    if (generation !== purges.generation && purges.reaches(tags, generation)) return 'purged'
    // This token is to be renewed, or an upstream refused it: another one is asked for in its place.
    const isKnown = [memory.get(key)?.token, this.#refused.get(key)].some(
      (known) => known?.value === token.value,
    )
    return isKnown ? 'known' : undefined
  }

  #use({ ask, key }: Visit, found: Shared, generation: number): IssuedToken {
    const { askedAt: _, ...entry } = found
    keep(this.#with.memory, key, { ...entry, generation }, entry.endsAt - Date.now())
    ask.outcome = 'shared'
    return entry.token
  }

  /** Exchanges for all replicas. The claim is kept for as long as that takes, and lapses when this process does. */
  async #fill(exchange: Exchange, one: Visit, askedAt: number): Promise<IssuedToken> {
    const { store, seals, memory } = this.#with
    const { permit, ask, key, names, claimant } = one
    const name = names[0]!
    this.#count('miss')
    const holding = setInterval(() => store.hold(name, claimant), LEASE_MS / 4)
    let kept: Kept | undefined
    try {
      const token = await exchange(permit, ask)
      const entry = memory.get(key)
      if (entry?.token === token) kept = entry
      return token
    } finally {
      clearInterval(holding)
      if (kept === undefined) {
        this.#release(one)
      } else {
        const value = sealEntry(seals, name, { ...kept, askedAt }, secretOf(permit))
        const ttlMs = Math.min(kept.endsAt - Date.now(), KEPT_AT_MOST_MS)
        store.fill({ name, claimant, value, ttlMs })
      }
      // Thousands of requests may wait for this. The entry leaves for Redis before they go on, or the claim lapses first.
      if (store.isConnected) await nextTurn()
    }
  }

  #count(outcome: Outcome): void {
    const { metrics } = this.#with
    const labels = { level: 'redis', outcome }
    metrics.counter('behalf_cache_total', 'Exchanges by how they were answered.', labels).value++
  }
}

/**
 * Pauses between two look-ups of a waiting replica, the longer the longer it has waited. Replicas poll, because a message
 * could be missed and they would have to poll then; only one request waits for each key and replica.
 *
 * @throws {GatewayError} `exchange_unavailable` where the deadline would pass first; the signal's reason when it is aborted
 */
export async function wait(
  { signal, deadline }: Pick<Ask, 'signal' | 'deadline'>,
  waitedMs: number,
): Promise<void> {
  const ms = Math.min(Math.max(waitedMs * WAIT_SHARE, SHORTEST_WAIT_MS), LONGEST_WAIT_MS)
  if (Date.now() + ms >= deadline) {
    const detail = 'the exchange of another replica takes too long'
    throw new GatewayError('exchange_unavailable', detail, { retryAfter: 1 })
  }
  await sleep(ms * (0.8 + 0.4 * Math.random()), undefined, { signal }).catch(() => undefined)
  signal.throwIfAborted()
}
