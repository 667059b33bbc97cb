import { type ConnectionOptions, createConnection } from './connection.ts'
import type { Reply } from './link.ts'

export type { Reply } from './link.ts'

export interface RedisOptions extends ConnectionOptions {
  /** How long one answer is waited for, in milliseconds. Default 20. */
  readonly timeoutMs?: number | undefined
}

/** A program that runs in Redis in one step. */
export interface Script {
  readonly source: string
  /** Its SHA-1, in hexadecimal: what Redis knows it by. */
  readonly sha1: string
}

export interface Redis {
  /**
   * Runs a script, one round trip. Never rejects, and never waits for longer than the bound: so long as the process could
   * have read an answer. In a Cluster all keys are of one slot.
   *
   * @param tooLate told of an answer that came when nobody waited for it any more
   * @returns undefined where there is no answer: whoever asked goes on without it
   */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
    tooLate?: (reply: Reply) => void,
  ): Promise<Reply | undefined>
  /** Runs a script that nobody waits for; also while Redis is left alone. */
  send(script: Script, keys: readonly string[], args: readonly (string | Buffer)[]): void
  /** Whether all of it is there, and worth while to ask. */
  readonly isThere: boolean
  /** Whether it is connected to, though it may be late. */
  readonly isConnected: boolean
  /** Whether keys are spread over servers: commands that take several take them of one slot. */
  readonly isSpread: boolean
  /** Resolves when it is there for the first time, or is not to be waited for any more. */
  readonly started: Promise<void>
  close(): Promise<void>
}

const TIMEOUT_MS = 20
/** How long a start waits for Redis, in milliseconds. */
const START_MS = 2_000

/** After so many late answers in a row Redis is left alone for a while. */
const LATE = 3
const SHORTEST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2_000

/**
 * A connection to Redis that nothing depends on: what is not answered in time is answered by `undefined`. While it is gone
 * or late nothing waits for it, but for single requests that find out whether it is back.
 */
export function createRedis(options: RedisOptions): Redis {
  const { timeoutMs = TIMEOUT_MS, noticed = () => undefined } = options
  const pause = new Pause()
  const connection = createConnection({
    ...options,
    noticed(state, reason) {
      if (state === 'there') pause.end()
      noticed(state, reason)
    },
  })

  let said = 0
  function hear(): void {
    said++
  }

  function evaluate(
    { source, sha1 }: Script,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
  ): Promise<Reply> {
    const [first = ''] = keys
    const rest = [String(keys.length), ...keys, ...args]
    return connection.send(first, ['EVALSHA', sha1, ...rest]).catch((error: unknown) => {
      // A server that was restarted does not know it any more.
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      return connection.send(first, ['EVAL', source, ...rest])
    })
  }

  return {
    started: begun(connection.first),
    isSpread: options.servers.kind === 'cluster',
    get isThere() {
      return connection.isWhole && !pause.isOn(performance.now())
    },
    get isConnected() {
      return connection.isReady
    },
    async run(script, keys, args, tooLate) {
      if (!connection.isReady || !pause.admits(performance.now())) return undefined
      const askedAt = performance.now()
      const asked = evaluate(script, keys, args)
      asked.then(hear, () => undefined)
      const answer = await within(timeoutMs, asked, () => said)
      if (answer === LATE_ANSWER) {
        pause.late(askedAt, performance.now())
        asked.then(tooLate, () => undefined)
      } else if (answer !== FAILED) pause.end()
      return typeof answer === 'symbol' ? undefined : answer
    },
    send(script, keys, args) {
      if (connection.isReady) evaluate(script, keys, args).catch(() => undefined)
    },
    close: () => connection.close(timeoutMs),
  }
}

async function begun(ready: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, START_MS)
  })
  await Promise.race([ready.catch(() => undefined), patience])
  clearTimeout(timer)
}

const LATE_ANSWER = Symbol('late')
const FAILED = Symbol('failed')
/** So often, at least, does the process look at its sockets before it gives up. */
const TURNS = 4
/** Allowance for what passes before and after each turn of the loop. */
const SILENT_SHARE = 0.9
/** A process that is never idle waits so many times the bound, and no longer. */
const PATIENCE = 25

/**
 * Waits for as long as the process had nothing else to do, and Redis said nothing: a process that is busy does not take an
 * answer that lies there, or one that Redis had no processor for, for one that is late; nor do many who ask at once.
 *
 * @param said counts what Redis answered
 */
async function within<Value>(
  ms: number,
  answer: Promise<Value>,
  said: () => number,
): Promise<Value | typeof LATE_ANSWER | typeof FAILED> {
  const step = ms / TURNS
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<typeof LATE_ANSWER>((resolve) => {
    const until = performance.now() + ms * PATIENCE
    let [heard, idle, lookedAt, silentMs, turns] = [said(), idleMs(), performance.now(), 0, 0]
    const look = (): void => {
      const [now, before] = [performance.now(), idle]
      idle = idleMs()
      turns++
      // A process that is woken late shares its processor, perhaps with Redis: that does not count as silence.
      if (now - lookedAt < 2 * step) silentMs += Math.min(idle - before, step)
      if (said() !== heard) [heard, silentMs] = [said(), 0]
      lookedAt = now
      if (turns >= TURNS && (silentMs >= ms * SILENT_SHARE || now >= until)) resolve(LATE_ANSWER)
      else timer = setTimeout(look, step)
    }
    timer = setTimeout(look, step)
  })
  try {
    return await Promise.race([answer.catch((): typeof FAILED => FAILED), late])
  } finally {
    clearTimeout(timer)
  }
}

/** For how long this process had nothing to do, ever. */
function idleMs(): number {
  return performance.eventLoopUtilization().idle
}

/** Leaves Redis alone where it was late again and again. */
class Pause {
  #late = 0
  #lateAt = 0
  #until = 0
  #ms = SHORTEST_PAUSE_MS

  isOn(now: number): boolean {
    return this.#late >= LATE && now < this.#until
  }

  /** While it is on, nobody; then one, who finds out for the others. */
  admits(now: number): boolean {
    if (this.#late < LATE) return true
    if (now < this.#until) return false
    this.#until = now + this.#ms
    return true
  }

  /** What was asked for at once is late at once, and counts once. */
  late(askedAt: number, now: number): void {
    if (askedAt < this.#lateAt) return
    this.#lateAt = now
    if (++this.#late < LATE) return
    if (this.#late > LATE) this.#ms = Math.min(this.#ms * 2, LONGEST_PAUSE_MS)
    this.#until = now + this.#ms
  }

  end(): void {
    this.#late = 0
    this.#ms = SHORTEST_PAUSE_MS
  }
}
