import { type ConnectionOptions, createConnection } from './connection.ts'
import type { Reply } from './link.ts'

export type { Reply } from './link.ts'

export interface RedisOptions extends ConnectionOptions {
  /** How long to wait for one answer, in milliseconds. Default 20. */
  readonly timeoutMs?: number | undefined
}

/** A program that runs in Redis in one step. */
export interface Script {
  readonly source: string
  /** Its SHA-1, in hexadecimal, by which Redis knows it. */
  readonly sha1: string
}

export interface Redis {
  /**
   * Runs a script in one round trip. Never rejects, and waits for `timeoutMs` at most, of which only time counts in which
   * this process could have read an answer. In a Cluster all keys must be of one slot.
   *
   * @param tooLate called with an answer that came after the wait was over
   * @returns undefined where no answer came in time: the gateway goes on without it
   */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
    tooLate?: (reply: Reply) => void,
  ): Promise<Reply | undefined>
  /** Runs a script without waiting for its answer; also while Redis is left alone because it was late. */
  send(script: Script, keys: readonly string[], args: readonly (string | Buffer)[]): void
  /** Whether all of Redis is there, and was not so late that it is left alone. */
  readonly isThere: boolean
  /** Whether there is a connection, though answers may be late. */
  readonly isConnected: boolean
  /** Whether keys are spread over several servers: then all keys of one command must be of one slot. */
  readonly isSpread: boolean
  /** Resolves when Redis is there for the first time, and after 2 s at the latest. */
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
 * A connection to Redis that nothing depends on: where no answer comes in time `run` resolves to `undefined`. While Redis is
 * gone or late no request waits for it, but for single ones that find out whether it is back.
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
      // A server that was restarted does not know the script any more.
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
/** How many turns of the event loop a wait lasts at least, so that the process has read its sockets before it gives up. */
const TURNS = 4
/** The share of the bound that must pass in silence. The rest allows for what passes before and after each turn. */
const SILENT_SHARE = 0.9
/** How many times the bound a wait lasts at most, in a process that is never idle. */
const PATIENCE = 25

/**
 * Waits for an answer. It is late when this process was idle for about `ms` milliseconds in which Redis answered nothing at
 * all. So an answer does not count as late while it lies unread in a busy process, while Redis has no processor to run on,
 * or while Redis answers other commands.
 *
 * @param said counts the answers of Redis so far
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

/** For how long this process was idle since it started, in milliseconds. */
function idleMs(): number {
  return performance.eventLoopUtilization().idle
}

/** Leaves Redis alone for a while after it was late several times in a row. */
class Pause {
  #late = 0
  #lateAt = 0
  #until = 0
  #ms = SHORTEST_PAUSE_MS

  isOn(now: number): boolean {
    return this.#late >= LATE && now < this.#until
  }

  /** Whether Redis may be asked: not during a pause, and after it by one request, which finds out for the others. */
  admits(now: number): boolean {
    if (this.#late < LATE) return true
    if (now < this.#until) return false
    this.#until = now + this.#ms
    return true
  }

  /** Counts a late answer. Commands that were sent together are late together, and count once. */
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
