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
  /** What this process knows. */
  readonly successions: Successions
  readonly metrics: Metrics
}

/** What callers' refresh tokens became, of all replicas. */
export interface SharingSuccessions {
  /**
   * Learns of a token that this process does not know before anybody looks it up here, and once more before its caller is
   * answered, who has to be told what replaced it at another replica meanwhile. It stands outside `bringing`.
   */
  learning(exchange: Exchange): Exchange
  /**
   * Redeems a token where no other replica does at that moment, and the newest of its line: who comes meanwhile waits, and goes on
   * with what replaced it. It stands inside `redeeming`, which sees to that within this process, and outside the budget.
   *
   * @throws {GatewayError} `exchange_unavailable` where another replica's refresh outlasts the deadline
   */
  leading(exchange: Exchange): Exchange
  close(): void
}

/** How a token was looked up, and why what was there was not used. */
type Outcome = 'found' | 'none' | 'unavailable' | 'unreadable' | 'oversized' | 'purged'

/** So long is a token that nobody knows anything of not looked up again. */
const UNKNOWN_FOR_MS = 10_000
const UNKNOWN = { maxEntries: 10_000, maxBytes: 16 * 1024 * 1024 }
/** Longer than any line: whoever writes to Redis can lead nobody in a circle. */
const MOST_STEPS = 16

/** One redemption. */
interface Lead {
  /** The newest of its line, as far as anybody knows. */
  readonly token: string
  /** By Redis' own clock; undefined where it is not there: nobody else can be told. */
  readonly askedAt: number | undefined
  /** Lets the others go on. */
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
    // What is told to the caller is read from this very line.
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
      // Whose it is was not known when it came.
      if (successor !== undefined && line.owner === undefined) {
        line.learnOwner(permit, true)
        this.#tell(permit, lead, successor)
      }
      return issued
    } catch (error) {
      // Nobody is to be told of a token that its issuer does not take.
      if (error instanceof GatewayError && error.code === 'invalid_token') this.#drop(permit, token)
      throw error
    } finally {
      lead.release()
      ask.outcome = own.outcome ?? ask.outcome
    }
  }

  /** The newest of a line, when nobody else redeems it. */
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
        // Whoever holds it may be about to redeem it: an answer that is late is no reason to do the same.
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
   * By the names of all sealing keys: replicas that seal by different ones have one in common, and two of them must not redeem the
   * same.
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

  /** What was brought and what was redeemed became this one. Whoever waits for the claim finds it in the same step. */
  #tell(permit: Permit, { token, askedAt }: Lead, successor: string): void {
    const { seals } = this.#with
    const { refreshToken: presented, line } = redeemedBy(permit)
    const { name, ids, owner } = line
    const tags = tagsOf(permit)
    const ttlMs = Math.min(Math.max(permit.route.exchange.maxAgeMs, SHORTEST_MS), KEPT_AT_MOST_MS)
    for (const one of new Set([token, presented, successor])) {
      const kept: SharedLine = {
        // Whose time nobody knows is from before any purge.
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

/** Of no two kinds the same: what issued tokens are kept by has no space. */
function nameOf(id: string): string {
  return `line ${id}`
}
