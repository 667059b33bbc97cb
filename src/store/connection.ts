import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisAddress, RedisTls, TcpAddress } from './client.ts'
import { openCluster } from './cluster.ts'
import type { Link, Reply } from './link.ts'
import { openSentinel } from './sentinel.ts'
import { openSingle } from './single.ts'

/** Where Redis is: one server, a Cluster, or the server that Sentinels name as the master. */
export type RedisServers =
  | { readonly kind: 'single'; readonly address: RedisAddress }
  | { readonly kind: 'cluster'; readonly nodes: readonly TcpAddress[] }
  | {
      readonly kind: 'sentinel'
      /** What the Sentinels call the master. */
      readonly name: string
      readonly nodes: readonly TcpAddress[]
      /** For the Sentinels themselves; undefined: they need none. */
      readonly user: string | undefined
      readonly password: string | undefined
    }

export interface ConnectionOptions {
  readonly servers: RedisServers
  /** Undefined: the default user. */
  readonly user?: string | undefined
  readonly password?: string | undefined
  /** The number of the database. Default 0; a Cluster has no other. */
  readonly database?: number | undefined
  /** Undefined: in the clear. */
  readonly tls?: RedisTls | undefined
  /** The version of the protocol. Default 3. */
  readonly resp?: 2 | 3 | undefined
  /** Called with the reason when Redis, or a part of it, is lost, and when all of it is there (again). */
  readonly noticed?: ((state: 'there' | 'lost', reason?: unknown) => void) | undefined
}

/** Opens a new link to Redis whenever the last one has ended. */
export interface Connection {
  /** Whether any command can be sent. */
  readonly isReady: boolean
  /** Whether all of Redis is there: of a Cluster each master. */
  readonly isWhole: boolean
  /** Sends a command to the server that has the key. Rejects at once where that is not there. */
  send(key: string, words: readonly (string | Buffer)[]): Promise<Reply>
  /** Resolves when Redis is there for the first time. */
  readonly first: Promise<void>
  /** Ends the link when the commands that were sent are done, or after so many milliseconds. */
  close(patienceMs: number): Promise<void>
}

const SHORTEST_PAUSE_MS = 25
const LONGEST_PAUSE_MS = 1_000

/**
 * Connects, and goes on trying until it is closed. A link that has ended stays in use, as far as it works, until there is
 * another.
 *
 * The Redis library is loaded with the first connection, so that a gateway without Redis does not pay for it.
 */
export function createConnection(options: ConnectionOptions): Connection {
  return new Following(options)
}

function open(
  options: ConnectionOptions & { readonly signal: AbortSignal },
  looked: () => void,
): Promise<Link> {
  const { servers } = options
  if (servers.kind === 'single') return openSingle(servers.address, options)
  if (servers.kind === 'cluster') return openCluster(servers.nodes, options, looked)
  return openSentinel(servers, options)
}

class Following implements Connection {
  readonly first: Promise<void>
  readonly #options: ConnectionOptions
  #link: Link | undefined
  #told: 'there' | 'lost' | undefined
  readonly #closing = new AbortController()

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.first = new Promise((resolve) => void this.#follow(resolve))
  }

  get isReady(): boolean {
    return this.#link?.isReady ?? false
  }

  get isWhole(): boolean {
    return this.#link?.isWhole ?? false
  }

  send(key: string, words: readonly (string | Buffer)[]): Promise<Reply> {
    return this.#link?.send(key, words) ?? Promise.reject(new Error('there is no connection'))
  }

  async close(patienceMs: number): Promise<void> {
    this.#closing.abort()
    const link = this.#link
    this.#link = undefined
    if (link === undefined) return
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, patienceMs)))
    await Promise.race([link.close().catch(() => undefined), late])
    clearTimeout(timer)
    link.destroy()
  }

  async #follow(begun: () => void): Promise<void> {
    for (let failures = 0; !this.#closing.signal.aborted;) {
      try {
        const link = await open({ ...this.#options, signal: this.#closing.signal }, () =>
          this.#look(),
        )
        this.#replace(link)
        this.#look()
        begun()
        failures = 0
        this.#notice('lost', await link.ended)
      } catch (reason) {
        failures++
        this.#notice('lost', reason)
      }
      await this.#pause(failures)
    }
  }

  #replace(link: Link): void {
    const before = this.#link
    // The connection was closed while this link was being opened.
    if (this.#closing.signal.aborted) return link.destroy()
    this.#link = link
    before?.destroy()
  }

  #look(): void {
    this.#notice(this.isWhole ? 'there' : 'lost', new Error('a part of it does not answer'))
  }

  #notice(state: 'there' | 'lost', reason?: unknown): void {
    if (this.#closing.signal.aborted || this.#told === state) return
    this.#told = state
    if (state === 'there') this.#options.noticed?.('there')
    else this.#options.noticed?.('lost', reason)
  }

  /** Random within limits, so that replicas that lost the same server do not come back at the same moment. */
  async #pause(failures: number): Promise<void> {
    const ms = Math.min(SHORTEST_PAUSE_MS * 2 ** Math.min(failures, 10), LONGEST_PAUSE_MS)
    const { signal } = this.#closing
    await sleep(ms * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined)
  }
}
