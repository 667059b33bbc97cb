import type { createClient } from '@redis/client'

export interface RedisOptions {
  /** `redis://` or, with TLS, `rediss://`; with user, password and number of the database where there are any. */
  readonly url: string
  /** How long one answer is waited for, in milliseconds. Default 20. */
  readonly timeoutMs?: number
  /** The version of the protocol. Default 3. */
  readonly resp?: 2 | 3
  /** Told when it is lost, with the reason, and when it is there (again). */
  readonly noticed?: (state: 'there' | 'lost', reason?: unknown) => void
}

/** A program that runs in Redis in one step. */
export interface Script {
  readonly source: string
  /** Its SHA-1, in hexadecimal: what Redis knows it by. */
  readonly sha1: string
}

/** What Redis answers, with strings as bytes. */
export type Reply = number | Buffer | string | null | undefined | readonly Reply[]

export interface Redis {
  /**
   * Runs a script, one round trip. Never rejects, and never waits for longer than the bound.
   *
   * @returns undefined where there is no answer: whoever asked goes on without it
   */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
  ): Promise<Reply | undefined>
  /** Whether it is worth while to ask. */
  readonly isThere: boolean
  /** Resolves when it is there for the first time, or is not to be waited for any more. */
  readonly started: Promise<void>
  close(): Promise<void>
}

const TIMEOUT_MS = 20
/** So long does a start wait. */
const START_MS = 2_000
const CONNECT_MS = 2_000
const LONGEST_RECONNECT_MS = 1_000
/** A connection that says nothing for so long, although it is asked, is dead. */
const SILENT_MS = 5_000
const PING_EVERY_MS = 1_000
/** What waits for an answer beyond that is not asked at all. */
const QUEUE = 20_000

/** So many answers that were late, one after the other, and it is left alone for a while. */
const LATE = 3
const SHORTEST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2_000

type Client = ReturnType<typeof createClient>

/**
 * A connection to Redis that nothing depends on: what is not answered in time is answered by `undefined`. While it is gone
 * or late nothing waits for it, but for single requests that find out whether it is back.
 *
 * The library is loaded here, so that nobody pays for it who has no Redis.
 */
export function createRedis(options: RedisOptions): Redis {
  const { timeoutMs = TIMEOUT_MS, noticed = () => undefined } = options
  const pause = new Pause()
  let client: Client | undefined
  let closed = false

  const connected = connect(options, (state, reason) => {
    if (state === 'there') pause.end()
    noticed(state, reason)
  }).then((made) => {
    client = made
    // Closed while it was on its way.
    if (closed) made.destroy()
    return made
  })
  // It was noticed there.
  connected.catch(() => undefined)

  return {
    started: begun(connected.then(firstReady)),
    get isThere() {
      return client !== undefined && client.isReady && !pause.isOn(Date.now())
    },
    async run(script, keys, args) {
      if (client === undefined || !client.isReady || !pause.admits(Date.now())) return undefined
      const askedAt = Date.now()
      const answer = await within(timeoutMs, evaluate(client, script, keys, args))
      if (answer === LATE_ANSWER) pause.late(askedAt, Date.now())
      else pause.end()
      return typeof answer === 'symbol' ? undefined : answer
    },
    async close() {
      closed = true
      if (client === undefined || !client.isOpen) return
      // What was sent is done; what cannot be is not waited for.
      await within(timeoutMs, client.close())
      if (client.isOpen) client.destroy()
    },
  }
}

async function connect(
  { url, resp = 3 }: RedisOptions,
  noticed: NonNullable<RedisOptions['noticed']>,
): Promise<Client> {
  const { createClient: create, RESP_TYPES } = await import('@redis/client')
  const client = create({
    url,
    RESP: resp,
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    // Nothing waits for a connection, and nothing is sent that the list of commands does not name.
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    commandsQueueMaxLength: QUEUE,
    pingInterval: PING_EVERY_MS,
    socket: {
      connectTimeout: CONNECT_MS,
      socketTimeout: SILENT_MS,
      reconnectStrategy: (retries) =>
        Math.min(25 * 2 ** Math.min(retries, 10), LONGEST_RECONNECT_MS) * (0.5 + Math.random() / 2),
    },
  }) as unknown as Client
  let isThere = false
  client.on('ready', () => {
    isThere = true
    noticed('there')
  })
  let isTold = false
  client.on('error', (reason: unknown) => {
    // An answer that is late is no loss of the connection.
    if (client.isReady) return
    if (isThere || !isTold) noticed('lost', reason)
    isThere = false
    isTold = true
  })
  // It tries until it is closed; each failure is an event.
  client.connect().catch(() => undefined)
  return client
}

function firstReady(client: Client): Promise<void> {
  return client.isReady ? Promise.resolve() : new Promise((ready) => client.once('ready', ready))
}

async function begun(ready: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, START_MS)
  })
  await Promise.race([ready.catch(() => undefined), patience])
  clearTimeout(timer)
}

async function evaluate(
  client: Client,
  { source, sha1 }: Script,
  keys: readonly string[],
  args: readonly (string | Buffer)[],
): Promise<Reply> {
  const rest = [String(keys.length), ...keys, ...args]
  try {
    return await client.sendCommand<Reply>(['EVALSHA', sha1, ...rest])
  } catch (error) {
    // A server that was restarted does not know it any more.
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
    return client.sendCommand<Reply>(['EVAL', source, ...rest])
  }
}

const LATE_ANSWER = Symbol('late')
const FAILED = Symbol('failed')
const TICKS = 4

/**
 * Waits in four steps, between which the process looks at its sockets: a process that was busy itself does not take the
 * answer that lies there for one that is late.
 */
async function within<Value>(
  ms: number,
  answer: Promise<Value>,
): Promise<Value | typeof LATE_ANSWER | typeof FAILED> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<typeof LATE_ANSWER>((resolve) => {
    let left = TICKS
    const tick = (): void => {
      if (left-- === 0) resolve(LATE_ANSWER)
      else timer = setTimeout(tick, ms / TICKS)
    }
    tick()
  })
  try {
    return await Promise.race([answer.catch((): typeof FAILED => FAILED), late])
  } finally {
    clearTimeout(timer)
  }
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
