import { hash } from 'node:crypto'
import type { Permit } from '../authorize/authorize.ts'
import { createMemoryStore, type Bounds } from '../store/memory.ts'
import { clientOf } from './client.ts'
import { until } from './patience.ts'
import { PROFILES } from './profiles.ts'
import { type Purges, tagsOf } from './purge.ts'

/** At least so long it is known what replaced a token, in milliseconds. */
export const SHORTEST_MS = 60_000
/** And so long once its owner has presented what replaced it: for requests that crossed that one on their way. */
export const CROSSING_MS = 30_000
const WEIGHT_BYTES = 512

/**
 * What callers' refresh tokens became. A token that an issuer rotates is good for one refresh, and presented again it costs
 * its owner the whole family (RFC 9700, section 4.14.2). A caller may well have several requests on their way that hold the
 * same one, so that the first of them to be sent is followed by its successors: as long as the token that it brought may
 * be kept.
 *
 * Of this process: what others know is learned and told by whoever shares it (see `shared-succession.ts`).
 */
export class Successions {
  /** Told by what those of a line are found that nobody presents any more who knows the newest. */
  outdated: ((ids: readonly string[]) => void) | undefined
  readonly #known
  readonly #held = new Map<string, Line>()
  readonly #purges: Purges

  constructor(bounds: Bounds, purges: Purges) {
    this.#known = createMemoryStore<Line>(bounds)
    this.#purges = purges
  }

  /** The line that a token belongs to, found again by all who present it until each has let it go. */
  hold(permit: Permit, refreshToken: string): Line {
    const id = idOf(permit, refreshToken)
    const line = this.#held.get(id) ?? this.#find(id) ?? new Line(id)
    this.retain(line)
    if (id === line.ids.at(-1)) this.#shorten(line)
    return line
  }

  /** Whether anything is known of what a token became, or came from. */
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

  /** For one more who has to let it go. */
  retain(line: Line): void {
    if (line.users++ === 0) for (const id of line.ids) this.#held.set(id, line)
  }

  release(line: Line): void {
    if (--line.users === 0) for (const id of line.ids) this.#held.delete(id)
  }

  /** The token was redeemed, and this one came in its place. */
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

  /** The issuer does not take it any more. */
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

/** What is known of a line beside its tokens. */
export interface Descent {
  readonly name: string
  /** What each of its tokens is found by, the newest last. */
  readonly ids: readonly string[]
  /** The one that is good, where it is another than the one that this was found by. */
  readonly successor: string | undefined
  /** Whose it is; undefined as long as nobody knows. */
  readonly owner: string | undefined
}

/** How many of a line's tokens are known. */
const LONGEST_LINE = 16

/** A refresh token and what came in its place, one after the other: all of them have one name. */
export class Line {
  /** What the first of them that was seen here is found by. */
  readonly name: string
  /** How many have something to do with it at this moment. */
  users = 0
  /** By what it can be purged, and up to which purge it is not. */
  tags: readonly string[] = []
  generation = 0
  #ids: string[]
  #current: string | undefined
  #confirmed = true
  #owner: string | undefined
  /** What another replica knows of it came without an owner: until there is one, nobody is told. */
  #isSecret = false
  readonly #strangers = new Set<string>()
  #last: Promise<unknown> = Promise.resolve()

  constructor(name: string) {
    this.name = name
    this.#ids = [name]
  }

  /** What it takes beside its names, in bytes. */
  get weight(): number {
    return WEIGHT_BYTES + (this.#current?.length ?? 0)
  }

  /** Whose it is, as far as it is known. */
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

  /** What each of its tokens is found by, the newest last. */
  get ids(): readonly string[] {
    return this.#ids
  }

  /** The one that is good, where it is another than this one and this user may know it. */
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

  /** What was issued for it is this user's, or is not. */
  learnOwner(permit: Permit, owns: boolean): void {
    if (owns) this.#owner = userOf(permit)
    else if (this.#owner === undefined) this.#strangers.add(userOf(permit))
  }

  /** Returns what is too old to be found any more. */
  succeed(id: string, successor: string): readonly string[] {
    // An issuer that rotates nothing may still repeat the token.
    const ids = [...this.#ids.filter((one) => one !== id), id]
    this.#ids = ids.slice(-LONGEST_LINE)
    this.#current = successor
    this.#confirmed = false
    return ids.slice(0, -LONGEST_LINE)
  }

  /** What of it nobody presents any more who knows the newest; once for each newest. */
  confirm(): readonly string[] {
    if (this.#confirmed) return []
    this.#confirmed = true
    return this.#ids.slice(0, -1)
  }

  end(): void {
    this.#current = undefined
  }

  /**
   * Redeems the one that is good, when those who came before are done: two at once would cost the family. It is the next
   * one's turn when this one's request has ended, whoever still waits for it.
   *
   * @param presented what is good where nothing has replaced it
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

/** What a token is found by. Another issuer's or client's token of the same characters is another one. */
export function idOf(permit: Permit, refreshToken: string): string {
  const of = JSON.stringify([permit.subject.issuer, clientOf(permit)?.id, refreshToken])
  return hash('sha256', of, 'base64url')
}

/** By the claims that an issued token must share with the subject token. */
export function userOf({ subject: { issuer, api, claims } }: Permit): string {
  const { sameUser } = PROFILES[api.issuer.profile]
  return JSON.stringify([issuer, ...sameUser.map((name) => claims[name])])
}
