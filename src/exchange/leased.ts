import { randomUUID } from 'node:crypto'
import type { Budget } from '../config/config.ts'
import { AFTER_OTHERS_MS, AHEAD_MS, type Given, MOST_CALLERS, type Need } from '../store/turns.ts'
import { type Asked, Moved } from './between.ts'
import { budgetSpent, LONGEST_RETRY_AFTER_SECONDS } from './bucket.ts'
import { BACKGROUND, COMING, Line, type Rank, TOLD, type Turn, type Waiting } from './line.ts'
import { beginOf, type Known, prospect } from './prospect.ts'

export interface LeasedOptions {
  /** Undefined: only the issuer's own throttling holds exchanges back. */
  readonly budget: Budget | undefined
  /** How many replicas share it. */
  readonly replicas: number
  /** Asks for turns; never rejects. Undefined: no answer came. */
  readonly ask: (need: Need) => Promise<Given | undefined>
  /** The name that a key has in all replicas. It does not reveal the key. */
  readonly nameOf: (key: string) => string
  /** Called with what became of turns that were asked for. */
  readonly count: (outcome: 'leased' | 'unused' | 'denied', many: number) => void
  /** For the jitter of `Retry-After`; default `Math.random`. */
  readonly random?: (() => number) | undefined
}

/** How long after its beginning a turn can still be used, in milliseconds: a bound on what is made up for. */
const LATE_MS = 250
/** How long an answer's figures about the other replicas are relied on, in milliseconds. */
const FRESH_MS = 500
/** Without a budget: for how long after an answer exchanges leave without asking, in milliseconds. */
const OPEN_FOR_MS = 250
/** After an answer with too few turns: how long until the next question for those who wait, in milliseconds, */
const LONGEST_WAIT_MS = 250
const SHORTEST_WAIT_MS = 25
const JITTER_MS = 15
/** and how long where others have come since. */
const NEWCOMERS_WAIT_MS = 10

/** A caller that is to be told when to come back. */
interface Late {
  readonly as: 'late' | 'sent'
  readonly key: string | undefined
  /** Called where it was told before, and is in time. */
  readonly due: () => void
  readonly tell: (seconds: number) => void
  readonly moved: () => void
}

/**
 * One replica's line before a bucket that all replicas share. Turns are leased for exchanges that wait, never in advance,
 * with one round trip at a time for all that came meanwhile. A turn is a point in time at most a quarter of a second ahead;
 * when it comes, the exchange that is first in line takes it. When no answer comes the line is closed.
 */
export class LeasedBucket implements Asked {
  readonly #with: LeasedOptions
  readonly #replica = randomUUID()
  readonly #random: () => number
  readonly #line = new Line()
  /** The exchanges in line that may have been told to come back: the next question finds out. */
  readonly #unknown = new Set<Waiting>()
  readonly #late = new Map<object, Late>()
  /** When the leased turns begin, in epoch milliseconds. */
  #turns: number[] = []
  #known: Known | undefined
  /** Whether the last answer gave fewer turns than were asked for. */
  #isScarce = false
  #askAgainAt = 0
  #pausedUntil = 0
  #pauseIsNews = false
  #isAsking = false
  #timer: NodeJS.Timeout | undefined
  /** Whether this replica spent turns of its own share since the last answer. */
  wasAlone = false

  constructor(options: LeasedOptions) {
    this.#with = options
    this.#random = options.random ?? Math.random
  }

  /** @throws {Moved} */
  async take(turn: Turn): Promise<void> {
    turn.signal.throwIfAborted()
    const now = Date.now()
    if (this.#isOpen(now)) return
    const rank = turn.background ? BACKGROUND : COMING
    const { waiting, left } = this.#line.enter(rank, turn, (gone) => this.#forget(gone))
    if (rank === COMING && turn.key !== undefined) this.#unknown.add(waiting)
    const at = this.#prospect(rank, this.#line.upTo(rank) - 1, now)
    if (at > turn.deadline) this.#dismiss(waiting, at - now)
    this.#go(now)
    return left
  }

  pauseFor(ms: number): void {
    const now = Date.now()
    if (now + ms <= this.#pausedUntil) return
    this.#pausedUntil = now + ms
    this.#pauseIsNews = true
    this.#shedLate(now)
    this.#go(now)
  }

  /** @throws {Moved} */
  promise(key: string | undefined): Promise<number> {
    return new Promise((tell, reject) => {
      const moved = (): void => reject(new Moved())
      this.#late.set({}, { as: 'sent', key, due: () => tell(1), tell, moved })
      this.#go(Date.now())
    })
  }

  get available(): number {
    const now = Date.now()
    const known = this.#known
    if (known === undefined || this.#pausedUntil > now) return 0
    if (known.everyMs === 0) return Number.MAX_SAFE_INTEGER
    const missing = Math.max(0, known.at + known.fullMs - now) / known.everyMs
    return Math.max(0, Math.floor(known.burst - missing))
  }

  /** For how long the issuer wants no requests, as far as any replica knows, in milliseconds. */
  get pauseMs(): number {
    return Math.max(0, this.#pausedUntil - Date.now())
  }

  /** How many replicas used the budget lately, this one included. */
  get replicas(): number {
    return 1 + (this.#known?.others.length ?? 0)
  }

  /** Asks although nobody waits, to find out whether an answer comes. */
  probe(): void {
    if (!this.#isAsking) void this.#ask(Date.now())
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  /** Whether exchanges may leave without asking: there is no budget, and the issuer has not throttled lately. */
  #isOpen(now: number): boolean {
    if (this.#with.budget !== undefined || this.#isScarce || now < this.#pausedUntil) return false
    return this.#isKnownFor(OPEN_FOR_MS, now)
  }

  /** Whether the last answer is younger than that. One from the future is old: the clock was set back. */
  #isKnownFor(ms: number, now: number): boolean {
    return this.#known !== undefined && now >= this.#known.at && now - this.#known.at < ms
  }

  /** When an exchange behind so many others leaves, in epoch milliseconds. Without a recent answer: now, or past a pause. */
  #prospect(rank: Rank, ahead: number, now: number): number {
    const from = Math.max(now, this.#pausedUntil)
    const turn = this.#turns[ahead]
    if (turn !== undefined) return Math.max(from, turn)
    if (!this.#isKnownFor(FRESH_MS, now)) return from
    return Math.max(from, prospect(this.#known!, rank, ahead - this.#turns.length))
  }

  /** Takes all out of the line whose turn would now come after their deadline. */
  #shedLate(now: number): void {
    let ahead = 0
    for (const waiting of this.#line.inOrder()) {
      const at = this.#prospect(waiting.rank, ahead, now)
      if (at <= waiting.turn.deadline) ahead++
      else this.#dismiss(waiting, at - now)
    }
  }

  /** Takes an exchange out of the line, to be told when to come back. In the background no caller would: it is refused. */
  #dismiss(waiting: Waiting, waitMs: number): void {
    const { key } = waiting.turn
    this.#line.remove(waiting)
    this.#unknown.delete(waiting)
    if (waiting.rank === BACKGROUND) {
      this.#refuse(waiting, Math.ceil(waitMs / 1_000))
      return
    }
    this.#late.set(waiting, {
      ...{ as: 'late', key },
      due: () => this.#line.move(waiting, TOLD),
      tell: (seconds) => this.#refuse(waiting, seconds),
      moved: () => waiting.refuse(new Moved()),
    })
  }

  #refuse(waiting: Waiting, seconds: number): void {
    this.#with.count('denied', 1)
    waiting.refuse(budgetSpent(seconds))
  }

  #forget(gone: Waiting): void {
    this.#unknown.delete(gone)
    this.#late.delete(gone)
  }

  /** Lets those leave whose turn has come; then asks for more turns, now or by the timer. */
  #go(now: number): void {
    this.#serve(now)
    let next = this.#isAsking ? Number.POSITIVE_INFINITY : this.#askAt(now)
    if (next <= now) {
      void this.#ask(now)
      next = Number.POSITIVE_INFINITY
    }
    const [turn] = this.#turns
    if (turn !== undefined && this.#line.upTo(BACKGROUND) > 0) {
      next = Math.min(next, Math.max(turn, this.#pausedUntil))
    }
    clearTimeout(this.#timer)
    if (next === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#wake(), Math.max(1, Math.ceil(next - now)))
  }

  #wake(): void {
    const now = Date.now()
    this.#shedLate(now)
    this.#go(now)
  }

  #serve(now: number): void {
    const kept = this.#turns.filter((at) => now - at <= LATE_MS && at - now <= 2 * AHEAD_MS)
    if (kept.length < this.#turns.length) {
      this.#with.count('unused', this.#turns.length - kept.length)
      this.#turns = kept
    }
    if (now < this.#pausedUntil) return
    for (const waiting of this.#line.inOrder()) {
      if (!(this.#turns[0]! <= now)) return
      if (waiting.turn.deadline < now) continue
      this.#turns.shift()
      this.#line.remove(waiting)
      this.#unknown.delete(waiting)
      waiting.leave()
    }
  }

  /** When to ask, in epoch milliseconds. */
  #askAt(now: number): number {
    const wants = this.#line.upTo(BACKGROUND) > this.#turns.length
    const isNews = this.#unknown.size > 0 || this.#late.size > 0 || this.#pauseIsNews
    if (!wants && !isNews) return Number.POSITIVE_INFINITY
    if (!this.#isScarce || this.#known === undefined || this.#known.at > now) return now
    const again = this.#askAgainAt
    return isNews ? Math.min(again, this.#known.at + NEWCOMERS_WAIT_MS) : again
  }

  async #ask(now: number): Promise<void> {
    const waiting = [...this.#unknown].slice(0, MOST_CALLERS)
    const late = [...this.#late].slice(0, MOST_CALLERS - waiting.length)
    const need = this.#need(waiting, late, now)
    this.#isAsking = true
    this.#pauseIsNews = false
    const given = await this.#with.ask(need)
    this.#isAsking = false
    if (given === undefined) {
      this.#leave()
      return
    }
    if (need.wasAlone) this.wasAlone = false
    const at = Date.now()
    this.#learn(given, need, at)
    for (const one of waiting) this.#unknown.delete(one)
    for (const [index, answer] of given.callers.entries()) {
      const one = waiting[index]
      if (one !== undefined) {
        if (answer === 'due' && this.#line.has(one)) this.#line.move(one, TOLD)
        continue
      }
      const [who, { due, tell }] = late[index - waiting.length]!
      // Its caller has gone away since.
      if (!this.#late.delete(who)) continue
      if (answer === 'due') due()
      else tell(answer === 'waits' ? 1 : answer)
    }
    this.#shedLate(at)
    this.#go(at)
  }

  #need(
    waiting: readonly Waiting[],
    late: readonly (readonly [object, Late])[],
    now: number,
  ): Need {
    const { budget, replicas, nameOf } = this.#with
    const named = (as: 'waits' | Late['as'], key: string | undefined): Need['callers'][number] => ({
      name: key === undefined ? '' : nameOf(key),
      as,
      jitterMs: this.#random() * 1_000,
    })
    let patience = 0
    for (const { turn } of this.#line.inOrder()) patience = Math.max(patience, turn.deadline - now)
    return {
      ...{ replica: this.#replica, rate: budget?.rate, burst: budget?.burst ?? 1, replicas },
      ...{ line: this.#wanted(), wasAlone: this.wasAlone, pauseMs: this.#pausedUntil - now },
      callers: [
        ...waiting.map(({ turn }) => named('waits', turn.key)),
        ...late.map(([, { as, key }]) => named(as, key)),
      ],
      seconds: Math.min(Math.ceil(patience / 1_000), LONGEST_RETRY_AFTER_SECONDS),
    }
  }

  /** How many wait without a turn, by rank. */
  #wanted(): Need['line'] {
    let turns = this.#turns.length
    const without = (rank: Rank): number => {
      const waiting = this.#line.of(rank)
      const served = Math.min(waiting, turns)
      turns -= served
      return waiting - served
    }
    return { told: without(TOLD), coming: without(COMING), background: without(BACKGROUND) }
  }

  #learn(given: Given, { line, burst }: Need, at: number): void {
    const known: Known = { ...given, at, burst }
    this.#known = known
    this.#turns.push(...given.turns.map((after) => at + after))
    this.#with.count('leased', given.turns.length)
    this.#pausedUntil = Math.max(this.#pausedUntil, at + given.pauseMs)
    this.#isScarce = given.turns.length < line.told + line.coming + line.background
    // Asks again when the next turn is within reach. If it is already, and was not given, other replicas go first.
    const begin = beginOf(known, 0) - at
    const wait = begin - (begin > AHEAD_MS ? AHEAD_MS : AFTER_OTHERS_MS)
    const within = Math.min(Math.max(wait, SHORTEST_WAIT_MS), LONGEST_WAIT_MS)
    this.#askAgainAt = at + within + this.#random() * JITTER_MS
  }

  /** No answer came: closes the line, and rejects all who wait with {@link Moved}. */
  #leave(): void {
    clearTimeout(this.#timer)
    this.#known = undefined
    this.#turns = []
    this.#unknown.clear()
    const late = [...this.#late.values()]
    this.#late.clear()
    for (const waiting of this.#line.inOrder()) {
      this.#line.remove(waiting)
      waiting.refuse(new Moved())
    }
    for (const { moved } of late) moved()
  }
}
