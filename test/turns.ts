/**
 * What the script in `src/store/turns.ts` is to do, in other words: a bucket by its level, and a list of those who were told
 * when to come back. `test/store/turns.test.ts` holds the two against each other; where replicas are many and time is moved by
 * hand this one stands in for Redis.
 */
import type { Given, Line, Need, SharedTurns } from '../src/store/turns.ts'

const AHEAD = 250
const AFTER_OTHERS = 150

interface Member extends Line {
  readonly at: number
  /** When it had a turn last. */
  readonly served: number
}

export class ModelTurns implements SharedTurns {
  readonly #budgets = new Map<string, ModelBudget>()
  readonly #now: () => number
  /** How many asked so far. */
  asked = 0

  constructor(now: () => number) {
    this.#now = now
  }

  ask(issuer: string, need: Need): Promise<Given> {
    this.asked++
    const budget = this.#budgets.get(issuer) ?? new ModelBudget()
    this.#budgets.set(issuer, budget)
    return Promise.resolve(budget.ask(this.#now(), need))
  }
}

export class ModelBudget {
  /** Undefined: nobody ever asked. Negative where turns are given away that begin later. */
  #level: number | undefined
  #levelAt = 0
  #askedAt = 0
  #pausedUntil = 0
  #joinedAt = Number.NEGATIVE_INFINITY
  #kept = 1
  readonly #members = new Map<string, Member>()
  readonly #dueAt = new Map<string, number>()

  ask(now: number, need: Need): Given {
    const others = [...this.#members].filter(([id]) => id !== need.replica)
    for (const [id, { at }] of others) if (Math.abs(now - at) > 10_000) this.#members.delete(id)
    const fresh = others.filter(([, { at }]) => Math.abs(now - at) < 500).map(([, line]) => line)
    if (need.pauseMs > 0) this.#pausedUntil = Math.max(this.#pausedUntil, now + need.pauseMs)
    this.#pausedUntil = Math.min(this.#pausedUntil, now + 60_000)
    if (need.wasAlone) this.#joinedAt = now
    const every = this.#everyOf(now, need, fresh.length + 1)
    const from = Math.max(now, this.#pausedUntil)
    this.#fill(now, from, every, need.burst)
    this.#sweep(now)

    const line = { ...need.line }
    const elsewhere = sumOf(fresh)
    const waitFor = (after: number): number =>
      from - now + (every === 0 ? 0 : exactly(Math.max(0, after + 1 - this.#level!) * every))
    const answers = need.callers.map((caller) => {
      const due = caller.name === '' ? undefined : this.#dueAt.get(caller.name)
      const isDue = due !== undefined && due - 250 <= now
      if (due !== undefined && (caller.as === 'waits' || (caller.as === 'late' && isDue))) {
        this.#dueAt.delete(caller.name)
        this.#kept += 0.05 * (1 - this.#kept)
        if (!isDue) return 'waits' as const
        line.told++
        if (caller.as === 'waits') line.coming--
        return 'due' as const
      }
      if (caller.as === 'waits') return 'waits' as const
      if (due !== undefined && due > now) return Math.ceil((due - now) / 1_000)
      const ahead = elsewhere.told + elsewhere.coming + line.told + line.coming + this.#dueAt.size
      const told = Math.max(1, Math.ceil((waitFor(ahead) + Math.floor(caller.jitterMs)) / 1_000))
      if (told >= 60) return 60
      if (caller.name !== '' && every > 0) this.#dueAt.set(caller.name, now + told * 1_000)
      return told
    })

    const turns: number[] = []
    let served = this.#members.get(need.replica)?.served ?? 0
    const longestOf = (members: readonly Member[]): number =>
      Math.min(...members.map((one) => one.served))
    const longestTold = longestOf(fresh.filter(({ told }) => told > 0))
    const longest = longestOf(fresh.filter(({ told, coming }) => told + coming > 0))
    const give = (wanted: number, before: number, others: number): number => {
      let left = wanted
      for (; left > 0 && waitFor(before) <= (others < served ? AFTER_OTHERS : AHEAD); left--) {
        served = now
        turns.push(Math.ceil(waitFor(0)))
        if (every > 0) this.#level!--
      }
      return left
    }
    line.told = give(line.told, 0, longestTold)
    line.coming = give(line.coming, elsewhere.told, longest)
    line.background = give(line.background, elsewhere.told + elsewhere.coming, longest)
    this.#members.set(need.replica, { at: now, served, ...line })
    this.#askedAt = now
    return {
      ...{ turns, callers: answers, everyMs: every, kept: Math.round(this.#kept * 1_000) / 1_000 },
      pauseMs: Math.max(0, Math.ceil(this.#pausedUntil - now)),
      fullMs: Math.ceil(from - now + exactly((need.burst - this.#level!) * every)),
      others: fresh.map(({ told, coming, background }) => ({ told, coming, background })),
      promised: this.#promised(now, need.seconds),
    }
  }

  /** Who spent its own share may not be the only one who did. */
  #everyOf(now: number, { rate, replicas }: Need, present: number): number {
    if (rate === undefined) return 0
    const isJoining = now - this.#joinedAt < 3_000 && present < replicas
    return (1_000 / rate) * (isJoining ? replicas / present : 1)
  }

  #fill(now: number, from: number, every: number, burst: number): void {
    const waited = [...this.#members.values()].some(
      ({ at, told, coming, background }) => now - at < 500 && told + coming + background > 0,
    )
    const owed = waited && this.#askedAt >= this.#pausedUntil ? Math.max(1, 250 / every) : 0
    const filled =
      this.#level === undefined || every === 0
        ? burst
        : this.#level + Math.max(0, from - this.#levelAt) / every
    this.#level = Math.min(filled, burst + owed)
    this.#levelAt = from
  }

  #sweep(now: number): void {
    for (const [name, dueAt] of this.#dueAt) {
      if (dueAt > now - 5_000) continue
      this.#dueAt.delete(name)
      this.#kept *= 0.95
    }
  }

  #promised(now: number, seconds: number): number[] {
    if (this.#dueAt.size === 0) return []
    const counts = new Array<number>(seconds + 1).fill(0)
    for (const dueAt of this.#dueAt.values()) {
      const second = Math.max(0, Math.ceil((dueAt - now) / 1_000))
      if (second <= seconds) counts[second]!++
    }
    return counts
  }
}

/** Without what a sum of fractions is off by. */
function exactly(ms: number): number {
  return Math.round(ms * 1e3) / 1e3
}

function sumOf(lines: readonly Line[]): Line {
  const sum = { told: 0, coming: 0, background: 0 }
  for (const { told, coming, background } of lines) {
    sum.told += told
    sum.coming += coming
    sum.background += background
  }
  return sum
}
