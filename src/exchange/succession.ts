import { hash } from 'node:crypto'
import type { Permit } from '../authorize/authorize.ts'
import { createMemoryStore, type Bounds } from '../store/memory.ts'
import { clientOf } from './client.ts'
import { until } from './patience.ts'
import { PROFILES } from './profiles.ts'
import { type Purges, tagsOf } from './purge.ts'

/** How long a token's successor is remembered at least, in milliseconds. */
export const SHORTEST_MS = 60_000
/** How long it is remembered once its owner has presented it: for requests that were on their way already. */
export const CROSSING_MS = 30_000
const WEIGHT_BYTES = 512

/**
 * What callers' refresh tokens became. A token that an issuer rotates is good for one refresh; presented again, it costs its
 * owner the whole family (RFC 9700, section 4.14.2). A caller may have several requests on their way with the same token, so
 * all but the first use its successors, for as long as the issued token may be kept.
 *
 * Holds what this process knows; `shared-succession.ts` shares it with other replicas.
 */
export class Successions {
  /** Called with the ids of a line's older tokens when the newest was presented: a caller that has it presents no other. */
  outdated: ((ids: readonly string[]) => void) | undefined
  readonly #known
  readonly #held = new Map<string, Line>()
  readonly #purges: Purges

  constructor(bounds: Bounds, purges: Purges) {
    this.#known = createMemoryStore<Line>(bounds)
    this.#purges = purges
  }

  /** The line that a token belongs to. All requests that present the token get the same one, until each has released it. */
  hold(permit: Permit, refreshToken: string): Line {
    const id = idOf(permit, refreshToken)
    const line = this.#held.get(id) ?? this.#find(id) ?? new Line(id)
    this.retain(line)
    if (id === line.ids.at(-1)) this.#shorten(line)
    return line
  }

  /** Whether a token's successors, or predecessors, are known. */
  knows(permit: Permit, refreshToken: string): boolean {
    return this.#find(idOf(permit, refreshToken)) !== undefined
  }

  /** Takes over what another replica knows of a token. */
  adopt(permit: Permit, refreshToken: string, learned: Descent): void {
    const ids = [idOf(permit, refreshToken), ...learned.ids]
    const known = ids.map((id) => this.#held.get(id) ?? this.#find(id))
    const line = known.find((one) => one !== undefined) ?? new Line(learned.name)
    line.adopt(learned)
    this.#keep(line, permit)
  }

  /** Holds a line for one more user, who has to `release` it. */
  retain(line: Line): void {
    if (line.users++ === 0) for (const id of line.ids) this.#held.set(id, line)
  }

  release(line: Line): void {
    if (--line.users === 0) for (const id of line.ids) this.#held.delete(id)
  }

  /** Notes that the line's token was redeemed, and what replaced it. */
  rotate(line: Line, permit: Permit, successor: string): void {
    for (const id of line.succeed(idOf(permit, successor), successor)) {
      this.#known.delete(id)
      this.#held.delete(id)
    }
    this.#keep(line, permit)
  }

  #keep(line: Line, permit: Permit): void {
    line.tags = tagsOf(permit)
    line.generation = this.#purges.generation
    if (line.users > 0) for (const id of line.ids) this.#held.set(id, line)
    const ttlMs = Math.max(permit.route.exchange.maxAgeMs, SHORTEST_MS)
    for (const id of line.ids) this.#known.set(id, line, ttlMs, line.weight)
  }

  /** Forgets a line that was purged, or that the issuer does not accept any more. */
  forget(line: Line): void {
    line.end()
    for (const id of line.ids) this.#known.delete(id)
  }

  #find(id: string): Line | undefined {
    const line = this.#known.get(id)
    if (line === undefined || !this.#purges.reaches(line.tags, line.generation)) return line
    this.forget(line)
    return undefined
  }

  #shorten(line: Line): void {
    const ids = line.confirm()
    if (ids.length > 0) this.outdated?.(ids)
    for (const id of ids) {
      if (this.#known.get(id) === line) this.#known.set(id, line, CROSSING_MS, WEIGHT_BYTES)
    }
  }
}

/** What replicas tell each other of a line. */
export interface Descent {
  readonly name: string
  /** The ids of its tokens, the newest last. */
  readonly ids: readonly string[]
  /** The token that is good now; undefined where it is the one that this was found by. */
  readonly successor: string | undefined
  /** The user that the line belongs to; undefined as long as nobody knows. */
  readonly owner: string | undefined
}

/** How many of a line's tokens are remembered. */
const LONGEST_LINE = 16

/** A refresh token and its successors, one after the other, all with one name. */
export class Line {
  /** The id of the first of them that was seen. */
  readonly name: string
  /** How many hold it now. */
  users = 0
  /** The tags it can be purged by. Purges up to `generation` do not concern it. */
  tags: readonly string[] = []
  generation = 0
  #ids: string[]
  #current: string | undefined
  #confirmed = true
  #owner: string | undefined
  /** Set where another replica knew the line but not its owner: until that is known, nobody is told the successor. */
  #isSecret = false
  readonly #strangers = new Set<string>()
  #last: Promise<unknown> = Promise.resolve()

  constructor(name: string) {
    this.name = name
    this.#ids = [name]
  }

  /** What it weighs beside its ids, in bytes. */
  get weight(): number {
    return WEIGHT_BYTES + (this.#current?.length ?? 0)
  }

  /** The user that it belongs to, as far as is known. */
  get owner(): string | undefined {
    return this.#owner
  }

  /** Takes over what another replica knows. */
  adopt({ ids, successor, owner }: Descent): void {
    const own = this.#ids.filter((id) => !ids.includes(id))
    this.#ids = [...own, ...ids].slice(-LONGEST_LINE)
    this.#owner ??= owner
    if (this.#owner === undefined) this.#isSecret = true
    this.#confirmed = false
    this.#current = successor ?? this.#current
  }

  /** The ids of its tokens, the newest last. */
  get ids(): readonly string[] {
    return this.#ids
  }

  /** The token that is good now, where it is not this one, and this user may know it. */
  successorOf(refreshToken: string, permit: Permit): string | undefined {
    const user = userOf(permit)
    const isTold =
      this.#owner === undefined
        ? !this.#isSecret && !this.#strangers.has(user)
        : this.#owner === user
    return isTold && this.#current !== refreshToken ? this.#current : undefined
  }

  /** Whether it is known to be of another user than the one who presents it. */
  isForeignTo(permit: Permit): boolean {
    return this.#owner !== undefined && this.#owner !== userOf(permit)
  }

  /** Learns whether the line is this user's, by the token that was issued for it. */
  learnOwner(permit: Permit, owns: boolean): void {
    if (owns) this.#owner = userOf(permit)
    else if (this.#owner === undefined) this.#strangers.add(userOf(permit))
  }

  /** Adds a successor. Returns the ids of tokens that are too old to be found any more. */
  succeed(id: string, successor: string): readonly string[] {
    // An issuer that does not rotate refresh tokens may return the same one.
    const ids = [...this.#ids.filter((one) => one !== id), id]
    this.#ids = ids.slice(-LONGEST_LINE)
    this.#current = successor
    this.#confirmed = false
    return ids.slice(0, -LONGEST_LINE)
  }

  /** Notes that the newest token was presented. Returns the ids of the older ones, once for each newest. */
  confirm(): readonly string[] {
    if (this.#confirmed) return []
    this.#confirmed = true
    return this.#ids.slice(0, -1)
  }

  end(): void {
    this.#current = undefined
  }

  /**
   * Redeems the token that is good, when those that came before are done: two refreshes at once would cost the family. The
   * next turn comes when this one's request to the issuer has ended, even if its caller has given up before.
   *
   * @param presented the token to redeem where nothing has replaced it
   * @throws {GatewayError} `exchange_unavailable` where its turn does not come before the deadline
   */
  async turn<Value>(
    presented: string,
    { signal, deadline }: { readonly signal: AbortSignal; readonly deadline: number },
    redeem: (refreshToken: string) => Promise<Value>,
  ): Promise<Value> {
    const before = this.#last
    let done = (): void => undefined
    const own = new Promise<void>((resolve) => (done = resolve))
    this.#last = before.then(() => own)
    try {
      await until(deadline, before)
      signal.throwIfAborted()
    } catch (error) {
      done()
      throw error
    }
    const redeemed = redeem(this.#current ?? presented).finally(done)
    return until(deadline, redeemed)
  }
}

/** A token's id, which it is found by. The same characters from another issuer or client have another id. */
export function idOf(permit: Permit, refreshToken: string): string {
  const of = JSON.stringify([permit.subject.issuer, clientOf(permit)?.id, refreshToken])
  return hash('sha256', of, 'base64url')
}

/** Identifies a user by the claims that an issued token must share with the subject token. */
export function userOf({ subject: { issuer, api, claims } }: Permit): string {
  const { sameUser } = PROFILES[api.issuer.profile]
  return JSON.stringify([issuer, ...sameUser.map((name) => claims[name])])
}
