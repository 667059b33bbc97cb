import type { Elsewhere } from '../exchange/host-bucket.ts'
import { ReplaysFull, type ReplayStore, ReplaysUnknown } from '../store/replay.ts'
import type { Ask } from './channel.ts'
import type { HostBudget, HostProtocol, Paused } from './host.ts'

/** The primary process, as far as a worker needs it to serve. */
export interface Primary {
  /** The bucket that it keeps for all its workers. */
  bucket(of: HostBudget): Elsewhere
  /** The proofs and assertions that were used at any of its workers. */
  readonly replays: ReplayStore
  /** To be called when it says that a bucket is paused. */
  paused(what: Paused): void
  /** To be called with how many exchanges its buckets would let leave, by name. */
  available(what: Readonly<Record<string, number>>): void
}

export interface PrimaryOptions {
  /** Called when the primary falls silent, and when it answers again. */
  readonly noticed?: (state: 'there' | 'silent') => void
}

/** While a question is open, silence is looked for this often, in milliseconds. */
const LOOK_MS = 50
/** After so many looks without an answer the worker asks whether the primary is there: a turn may just take long. */
const LOOKS_BEFORE_ASKING = 2
/** After so many it counts as silent: a second. */
const LOOKS_BEFORE_SILENCE = 20
/** It also counts as silent after this time without an answer, in milliseconds, even if the looks were late. */
const LONGEST_MS = 5_000
/** How long one question may wait for its answer, in milliseconds. */
const ANSWER_MS = 10_000

/**
 * Asks the primary. While it is silent every answer is `undefined`, and the worker goes on by itself: the primary may be
 * busy, stopped or gone.
 */
export function createPrimary(
  ask: Ask<HostProtocol>,
  { noticed = () => undefined }: PrimaryOptions = {},
): Primary {
  const link = new Link(ask, noticed)
  const pauses = new Map<string, number>()
  let available: Readonly<Record<string, number>> = {}
  return {
    bucket(of) {
      const { name, share } = of
      return {
        take: (place) => {
          const left = Math.max(0, place.deadline - Date.now())
          return link.ask('take', { of, place }, left + ANSWER_MS)
        },
        leave: (number) => link.tell('leave', number),
        promise: (key) => link.ask('promise', { of, key }, ANSWER_MS),
        pause: (until) => link.tell('pause', { of, until }),
        get pausedUntil() {
          return pauses.get(name) ?? 0
        },
        get available() {
          return available[name] ?? share?.burst ?? Number.MAX_SAFE_INTEGER
        },
        probe: () => link.probe(),
        close: () => void pauses.delete(name),
      }
    },
    replays: {
      async isFirst(...proof) {
        const told = await link.ask('use', proof, ANSWER_MS)
        if (told === undefined) {
          void link.probe()
          throw new ReplaysUnknown()
        }
        if (told === 'full') throw new ReplaysFull()
        return told === 'first'
      },
    },
    paused: ({ name, until }) => void pauses.set(name, until),
    available: (what) => void (available = what),
  }
}

type Answer<Name extends keyof HostProtocol> = ReturnType<HostProtocol[Name]>
type Question<Name extends keyof HostProtocol> = Parameters<HostProtocol[Name]>[0]

/** Asks the primary, and notices its silence. */
class Link {
  readonly #ask: Ask<HostProtocol>
  readonly #noticed: (state: 'there' | 'silent') => void
  /** Gives up the questions that are open. */
  readonly #waiting = new Set<() => void>()
  #isThere = true
  #heardAt = 0
  #lookedAt = 0
  #silentLooks = 0
  #timer: NodeJS.Timeout | undefined
  #probing: Promise<boolean> | undefined

  constructor(ask: Ask<HostProtocol>, noticed: (state: 'there' | 'silent') => void) {
    this.#ask = ask
    this.#noticed = noticed
  }

  /** Never rejects. Resolves with undefined where there is no answer. */
  ask<Name extends keyof HostProtocol>(
    name: Name,
    what: Question<Name>,
    withinMs: number,
  ): Promise<Answer<Name> | undefined> {
    if (!this.#isThere) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      const giveUp = (): void => resolve(undefined)
      this.#wait(giveUp)
      this.#ask(name, what, withinMs).then(
        (answer) => {
          this.#answered(giveUp)
          resolve(answer)
        },
        // A question fails only when the primary is gone or late.
        () => this.#fallSilent(),
      )
    })
  }

  /** Sends what needs no answer, even while the primary is silent: it may read it later. */
  tell<Name extends 'leave' | 'pause'>(name: Name, what: Question<Name>): void {
    this.#ask(name, what, ANSWER_MS).catch(() => undefined)
  }

  /** Whether it answers again. Concurrent calls share one question. */
  async probe(): Promise<boolean> {
    if (this.#isThere) return true
    this.#probing ??= this.#ask('here', undefined, ANSWER_MS).then(
      () => this.#find(),
      () => false,
    )
    const found = await this.#probing
    this.#probing = undefined
    return found
  }

  #find(): boolean {
    if (!this.#isThere) this.#noticed('there')
    this.#isThere = true
    return true
  }

  #wait(giveUp: () => void): void {
    this.#waiting.add(giveUp)
    if (this.#timer !== undefined) return
    this.#heard()
    this.#lookLater()
  }

  #answered(giveUp: () => void): void {
    this.#heard()
    this.#waiting.delete(giveUp)
    if (this.#waiting.size > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #heard(): void {
    this.#heardAt = Date.now()
    this.#silentLooks = 0
  }

  #lookLater(): void {
    this.#lookedAt = Date.now()
    this.#timer = setTimeout(() => this.#look(), LOOK_MS)
  }

  #look(): void {
    const now = Date.now()
    // A late timer means that the processor is busy, and the primary may be late for that as well: that is no silence.
    if (now - this.#lookedAt < 2 * LOOK_MS) this.#silentLooks++
    if (this.#silentLooks >= LOOKS_BEFORE_SILENCE || now - this.#heardAt >= LONGEST_MS) {
      this.#fallSilent()
      return
    }
    if (this.#silentLooks === LOOKS_BEFORE_ASKING) {
      this.#ask('here', undefined, ANSWER_MS).then(
        () => this.#heard(),
        () => undefined,
      )
    }
    this.#lookLater()
  }

  #fallSilent(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#isThere) this.#noticed('silent')
    this.#isThere = false
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const giveUp of waiting) giveUp()
  }
}
