import { randomUUID } from 'node:crypto'
import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Metrics } from '../metrics.ts'
import { createMemoryStore } from '../store/memory.ts'
import type { Seals } from '../store/seal.ts'
import { KEPT_AT_MOST_MS, LEASE_MS, type SharedStore, type Taken } from '../store/shared.ts'
import type { Everywhere } from './everywhere.ts'
import type { Ask, Exchange } from './exchange.ts'
import type { IssuedToken } from './issued.ts'
import { tagsOf } from './purge.ts'
import { redeemedBy } from './redeem.ts'
import { openLine, sealLine, type SharedLine } from './sealed-line.ts'
import { wait } from './shared.ts'
import { CROSSING_MS, idOf, SHORTEST_MS, type Successions } from './succession.ts'
import { Telling } from './telling.ts'

export interface SharingSuccessionsOptions {
  readonly store: SharedStore
  readonly seals: Seals
  readonly everywhere: Everywhere
  /** What this process knows of callers' refresh tokens. */
  readonly successions: Successions
  readonly metrics: Metrics
}

/** What callers' refresh tokens became, shared by all replicas. */
export interface SharingSuccessions {
  /**
   * Looks a token up in Redis that this process does not know: before the layers below use it, and again before its caller
   * is answered, because another replica may have had it replaced meanwhile. Stands outside `bringing`.
   */
  learning(exchange: Exchange): Exchange
  /**
   * Redeems the newest token of a line while no other replica redeems it: requests at other replicas wait, and go on with
   * its successor. Stands inside `redeeming`, which does the same within this process, and outside the budget.
   *
   * @throws {GatewayError} `exchange_unavailable` where another replica's refresh outlasts the deadline
   */
  leading(exchange: Exchange): Exchange
  close(): void
}

/** What a look-up found, and why a line that was there was not used. */
type Outcome = 'found' | 'none' | 'unavailable' | 'unreadable' | 'oversized' | 'purged'

/** For how long a token that Redis does not know is not looked up again, in milliseconds. */
const UNKNOWN_FOR_MS = 10_000
const UNKNOWN = { maxEntries: 10_000, maxBytes: 16 * 1024 * 1024 }
/** More steps than any line has: forged entries in Redis cannot lead a replica round in a circle. */
const MOST_STEPS = 16

/** The right to redeem a token while no other replica does. */
interface Lead {
  /** The newest of its line, as far as any replica knows. */
  readonly token: string
  /** When it was claimed, by Redis' own clock, in epoch milliseconds; undefined where it could not be claimed. */
  readonly askedAt: number | undefined
  /** Gives the claim back, so that other replicas go on. */
  release(): void
}

export function sharingSuccessions(options: SharingSuccessionsOptions): SharingSuccessions {
  const shared = new SharedSuccessions(options)
  const isRedeemed = ({ route }: Permit): boolean => route.exchange.grant === 'refresh-token'
  return {
    learning: (exchange) => (permit, ask) => {
      const { refreshToken } = ask
      if (!isRedeemed(permit) || refreshToken === undefined) return exchange(permit, ask)
      if (!shared.isToBeLearned(permit, refreshToken)) return exchange(permit, ask)
      return shared.learnAround(exchange, permit, { ask, refreshToken })
    },
    leading: (exchange) => (permit, ask) =>
      isRedeemed(permit) && ask.refresh?.token !== undefined
        ? shared.lead(exchange, permit, { ask, refresh: ask.refresh, token: ask.refresh.token })
        : exchange(permit, ask),
    close: () => shared.close(),
  }
}

class SharedSuccessions {
  readonly #with: SharingSuccessionsOptions
  readonly #unknown = createMemoryStore<object>(UNKNOWN)
  readonly #telling

  constructor(options: SharingSuccessionsOptions) {
    this.#with = options
    this.#telling = new Telling(options.store)
    options.successions.outdated = this.#outdated
  }

  close(): void {
    this.#telling.close()
    const { successions } = this.#with
    if (successions.outdated === this.#outdated) successions.outdated = undefined
  }

  readonly #outdated = (ids: readonly string[]): void => {
    const { store, seals } = this.#with
    for (const id of ids) store.keep(seals.names(nameOf(id)), CROSSING_MS)
  }

  isToBeLearned(permit: Permit, refreshToken: string): boolean {
    if (this.#with.successions.knows(permit, refreshToken)) return false
    return this.#unknown.get(idOf(permit, refreshToken)) === undefined
  }

  async learnAround(
    exchange: Exchange,
    permit: Permit,
    { ask, refreshToken }: { readonly ask: Ask; readonly refreshToken: string },
  ): Promise<IssuedToken> {
    const { successions } = this.#with
    const before = await this.#learn(permit, refreshToken)
    // The caller is told the successor of this very line: holding it here makes `bringing` hold the same one.
    const line = successions.hold(permit, refreshToken)
    try {
      return await exchange(permit, ask)
    } finally {
      const { succession } = ask
      const isTold = succession === undefined || succession.successor !== undefined
      const after = isTold ? before : await this.#learn(permit, refreshToken)
      if (after === 'unknown') {
        const id = idOf(permit, refreshToken)
        this.#unknown.set(id, {}, UNKNOWN_FOR_MS, id.length)
      }
      successions.release(line)
    }
  }

  async #learn(permit: Permit, refreshToken: string): Promise<'learned' | 'unknown' | 'nothing'> {
    const taken = await this.#look(permit, refreshToken, { claimant: '', anew: false })
    if (taken === undefined) return 'nothing'
    const kept = this.#read(permit, refreshToken, taken)
    if (kept === undefined) return 'unknown'
    this.#with.successions.adopt(permit, refreshToken, kept)
    return 'learned'
  }

  async lead(
    exchange: Exchange,
    permit: Permit,
    of: {
      readonly ask: Ask
      readonly refresh: NonNullable<Ask['refresh']>
      readonly token: string
    },
  ): Promise<IssuedToken> {
    const { ask, refresh } = of
    const lead = await this.#leadOf(permit, of.token, ask)
    const { token } = lead
    let successor: string | undefined
    const own: Ask = {
      signal: ask.signal,
      deadline: ask.deadline,
      background: ask.background,
      outcome: undefined,
      refresh: {
        token,
        sent: () => refresh.sent(),
        keep: async (next) => {
          await refresh.keep(next)
          successor = next
          this.#tell(permit, lead, next)
        },
      },
    }
    try {
      const issued = await exchange(permit, own)
      const { line } = redeemedBy(permit)
      // When the successor came, its owner was not known yet.
      if (successor !== undefined && line.owner === undefined) {
        line.learnOwner(permit, true)
        this.#tell(permit, lead, successor)
      }
      return issued
    } catch (error) {
      // No caller may be told a successor that the issuer does not accept.
      if (error instanceof GatewayError && error.code === 'invalid_token') this.#drop(permit, token)
      throw error
    } finally {
      lead.release()
      ask.outcome = own.outcome ?? ask.outcome
    }
  }

  /** Waits until no other replica redeems the line, and claims its newest token. */
  async #leadOf(permit: Permit, presented: string, ask: Ask): Promise<Lead> {
    const { store, successions } = this.#with
    const claimant = randomUUID()
    const startedAt = performance.now()
    let token = presented
    let anew = false
    let heldUntil = 0
    for (let steps = 0; steps < MOST_STEPS;) {
      const taken = await this.#claim(permit, token, { claimant, anew })
      if (taken === undefined) {
        // The holder of the claim may be redeeming the token: a late answer is no reason to redeem it here as well.
        if (performance.now() >= heldUntil || !store.isConnected) break
        await wait(ask, performance.now() - startedAt)
        continue
      }
      const kept = this.#read(permit, token, taken)
      const isMine = taken.claim === 'mine'
      if (kept?.successor !== undefined && kept.successor !== token) {
        if (isMine) this.#release(permit, token, claimant)
        successions.adopt(permit, token, kept)
        token = kept.successor
        anew = false
        steps++
      } else if (isMine) {
        if (ask.signal.aborted) this.#release(permit, token, claimant)
        ask.signal.throwIfAborted()
        return this.#held(permit, token, { claimant, askedAt: taken.at })
      } else if (taken.claim === 'held') {
        heldUntil = performance.now() + LEASE_MS
        await wait(ask, performance.now() - startedAt)
      } else if (anew) break
      else anew = true
    }
    return { token, askedAt: undefined, release: () => undefined }
  }

  #held(permit: Permit, token: string, by: { claimant: string; askedAt: number }): Lead {
    const { store } = this.#with
    const { claimant, askedAt } = by
    const names = this.#namesOf(permit, token)
    const holding = setInterval(() => {
      for (const name of names) store.hold(name, claimant)
    }, LEASE_MS / 4)
    return {
      token,
      askedAt,
      release: () => {
        clearInterval(holding)
        this.#release(permit, token, claimant)
      },
    }
  }

  /**
   * Claims a token by its names under all sealing keys. While keys are rotated two replicas may seal with different ones,
   * but have one in common: they must not both redeem the same token.
   */
  async #claim(
    permit: Permit,
    token: string,
    by: { readonly claimant: string; readonly anew: boolean },
  ): Promise<Taken | undefined> {
    const taken = await this.#look(permit, token, by)
    if (taken?.claim !== 'mine') return taken
    for (const name of this.#namesOf(permit, token).slice(1)) {
      const { claimant } = by
      const other = await this.#with.store.take({ names: [name], marks: [], claimant, anew: true })
      if (other?.claim === 'mine') continue
      this.#release(permit, token, claimant)
      return other && { ...taken, claim: other.claim }
    }
    return taken
  }

  async #look(
    permit: Permit,
    token: string,
    by: { readonly claimant: string; readonly anew: boolean },
  ): Promise<Taken | undefined> {
    const { store, seals } = this.#with
    const marks = tagsOf(permit).flatMap((tag) => seals.marks(tag))
    const taken = await store.take({ names: this.#namesOf(permit, token), marks, ...by })
    if (taken === undefined) this.#count('unavailable')
    return taken
  }

  #read(permit: Permit, token: string, { values, marks }: Taken): SharedLine | undefined {
    const { seals, everywhere } = this.#with
    const names = this.#namesOf(permit, token)
    const markedAt = Math.max(0, ...marks)
    for (const [index, value] of values.entries()) {
      if (value === undefined) continue
      const kept =
        value === 'oversized' ? undefined : openLine(seals, { name: names[index]!, value, token })
      if (kept === undefined) this.#count(value === 'oversized' ? 'oversized' : 'unreadable')
      else if (isPurged(kept, markedAt, everywhere)) this.#count('purged')
      else {
        this.#count('found')
        return kept
      }
    }
    this.#count('none')
    return undefined
  }

  /** Tells other replicas the successor of the token presented and of the one redeemed. Those that wait find it there. */
  #tell(permit: Permit, { token, askedAt }: Lead, successor: string): void {
    const { seals } = this.#with
    const { refreshToken: presented, line } = redeemedBy(permit)
    const { name, ids, owner } = line
    const tags = tagsOf(permit)
    const ttlMs = Math.min(Math.max(permit.route.exchange.maxAgeMs, SHORTEST_MS), KEPT_AT_MOST_MS)
    for (const one of new Set([token, presented, successor])) {
      const kept: SharedLine = {
        // An unknown time counts as before any purge.
        name,
        ids,
        owner,
        tags,
        askedAt: askedAt ?? 1,
        successor: one === successor ? undefined : successor,
      }
      const [first = ''] = this.#namesOf(permit, one)
      const value = sealLine(seals, { name: first, token: one }, kept)
      this.#telling.fill({ name: first, claimant: '', value, ttlMs })
    }
  }

  #drop(permit: Permit, token: string): void {
    const { refreshToken: presented } = redeemedBy(permit)
    for (const one of [token, presented]) this.#with.store.drop(this.#namesOf(permit, one))
  }

  #release(permit: Permit, token: string, claimant: string): void {
    for (const name of this.#namesOf(permit, token)) this.#with.store.release(name, claimant)
  }

  #namesOf(permit: Permit, token: string): readonly string[] {
    return this.#with.seals.names(nameOf(idOf(permit, token)))
  }

  #count(outcome: Outcome): void {
    const help =
      "Callers' refresh tokens that were looked up, by what was found of what they became."
    this.#with.metrics.counter('behalf_refresh_lines_total', help, { outcome }).value++
  }
}

function isPurged(
  { tags, askedAt }: SharedLine,
  markedAt: number,
  everywhere: Everywhere,
): boolean {
  return markedAt >= askedAt || everywhere.isUntold(tags) || everywhere.purgedAt(tags) >= askedAt
}

/** Differs from every key of an issued token, since those have no space. */
function nameOf(id: string): string {
  return `line ${id}`
}
