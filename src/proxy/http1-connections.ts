import { type buildConnector, Client, type Dispatcher, errors } from 'undici'
import type { Sender } from './http2-connections.ts'

export interface Http1ConnectionsOptions {
  readonly connect: buildConnector.connector
  /** The age after which a connection takes no more requests, in milliseconds. */
  readonly longestUseMs: number
}

/** One client of undici, which has one connection at a time. */
interface Connection {
  readonly client: Client
  /** In epoch milliseconds; undefined while it is not connected. */
  openedAt: number | undefined
  /** Its index among the idle connections; -1 while it is not idle. */
  place: number
}

/**
 * The connections to an upstream that speaks HTTP/1.1, one request on each at a time (RFC 9112, section 9.3): no request
 * waits for another to end, because undici has no timeout for that. The connection that became idle last is taken first, so
 * that the others that a peak has left stay idle and end.
 *
 * undici's own pool is not used: it asks each of its connections in turn whether it is free, and how old it is. With some
 * dozens of them that took a tenth of a whole request.
 */
export class Http1Connections implements Sender {
  readonly #origin: string
  readonly #options: Http1ConnectionsOptions
  readonly #all = new Set<Connection>()
  readonly #idle: Connection[] = []
  #closed = false

  constructor(origin: string, options: Http1ConnectionsOptions) {
    this.#origin = origin
    this.#options = options
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (this.#closed) {
      handler.onError?.(new errors.ClientClosedError())
      return false
    }
    const connection = this.#take() ?? this.#begin()
    const { client, openedAt } = connection
    client.dispatch(options, handler)
    // undici reports no end for requests that it refuses to begin; a connection that was opened for one closes by itself.
    if (openedAt === undefined && client.stats.size === 0) this.#all.delete(connection)
    return true
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(Array.from(this.#all, ({ client }) => client.close()))
  }

  #take(): Connection | undefined {
    const oldest = Date.now() - this.#options.longestUseMs
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      idle.place = -1
      if (idle.openedAt !== undefined && idle.openedAt >= oldest) return idle
      this.#leave(idle)
    }
    return undefined
  }

  #begin(): Connection {
    const { connect } = this.#options
    const client = new Client(this.#origin, { connect, pipelining: 1 })
    const connection: Connection = { client, openedAt: undefined, place: -1 }
    this.#all.add(connection)
    client.on('connect', () => (connection.openedAt = Date.now()))
    client.on('disconnect', () => this.#ended(connection))
    // undici has failed the requests that waited for it, and makes no other connection for them.
    client.on('connectionError', () => this.#all.delete(connection))
    client.on('drain', () => this.#rest(connection))
    return connection
  }

  /** Called when the answer on it is complete. */
  #rest(connection: Connection): void {
    if (connection.openedAt === undefined) this.#all.delete(connection)
    else if (connection.place < 0) connection.place = this.#idle.push(connection) - 1
  }

  /** For a request that waits for the connection undici opens another one, or fails the request. */
  #ended(connection: Connection): void {
    connection.openedAt = undefined
    const { place } = connection
    if (place < 0) return
    this.#all.delete(connection)
    connection.place = -1
    const last = this.#idle.pop()!
    if (last === connection) return
    this.#idle[place] = last
    last.place = place
  }

  #leave(connection: Connection): void {
    this.#all.delete(connection)
    connection.client.close().catch(() => undefined)
  }
}
