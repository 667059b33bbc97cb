import http2, { constants } from 'node:http2'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { type buildConnector, type Dispatcher, errors } from 'undici'
import { Http2Request, type StreamOptions } from './http2-request.ts'

/** Sends requests to one upstream. */
export interface Sender {
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean
  /** Waits for the requests in flight. */
  close(): Promise<unknown>
}

export interface Http2ConnectionsOptions {
  readonly connect: buildConnector.connector
  /** How long an upstream may take to send its settings, in milliseconds. */
  readonly timeoutMs: number
  /** The age after which a connection takes no more requests, and ends with the last, in milliseconds. */
  readonly longestUseMs: number
  /** Receives the errors of connections that had answered before, and of requests that the upstream has not processed. */
  readonly ends: WeakSet<Error>
}

/** The most requests at once on a connection. Most servers take more, but say so only once the connection is open. */
const MAX_STREAMS = 100

/** The settings for upstreams. They may ignore the limit on the head's size, so it is checked again on arrival. */
const TAKEN: http2.ClientSessionOptions = {
  settings: { enablePush: false, maxHeaderListSize: 65_536 },
  maxHeaderListPairs: 600,
}

/** A connection, and how many requests are under way on it. */
interface Session {
  readonly session: http2.ClientHttp2Session
  readonly startedAt: number
  streams: number
  /** Whether it has brought an answer. */
  served: boolean
}

/**
 * The connections to an upstream that speaks HTTP/2 (RFC 9113): agreed by ALPN over TLS, else by prior knowledge (section
 * 3.3). Requests share a connection up to the number that the upstream takes at once; beyond that another one is opened, so
 * that no request waits for another to end. undici's own client is not used: it takes a stream that was reset for a
 * complete answer.
 */
export class Http2Connections implements Sender {
  readonly #origin: URL
  readonly #options: Http2ConnectionsOptions
  readonly #sessions = new Set<Session>()
  #coming: Promise<void> | undefined
  #closed = false

  constructor(origin: string, options: Http2ConnectionsOptions) {
    this.#origin = new URL(origin)
    this.#options = options
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const known = this.#take()
    if (known !== undefined) this.#send(known, options, handler)
    else {
      this.#acquire().then(
        (one) => this.#send(one, options, handler),
        (error: Error) => handler.onError?.(error),
      )
    }
    return true
  }

  async close(): Promise<void> {
    this.#closed = true
    const open = [...this.#sessions].filter(({ session }) => !session.closed && !session.destroyed)
    await Promise.all(
      open.map(({ session }) => new Promise<void>((resolve) => session.close(resolve))),
    )
  }

  /** Takes a place on an open connection. It is given back when its request is over. */
  #take(): Session | undefined {
    for (const one of this.#sessions) {
      const { session, startedAt, streams } = one
      const most = Math.min(session.remoteSettings.maxConcurrentStreams ?? MAX_STREAMS, MAX_STREAMS)
      if (session.closed || session.destroyed) this.#sessions.delete(one)
      else if (performance.now() - startedAt > this.#options.longestUseMs) {
        this.#leave(one)
      } else if (streams < most) {
        one.streams++
        return one
      }
    }
    return undefined
  }

  /** Has the connection end with its last stream. The next connection resolves the host anew. */
  #leave(one: Session): void {
    this.#sessions.delete(one)
    one.session.close()
  }

  /** Requests that come while a connection is being made wait for it. */
  async #acquire(): Promise<Session> {
    for (;;) {
      const known = this.#take()
      if (known !== undefined) return known
      this.#coming ??= this.#begin().finally(() => (this.#coming = undefined))
      await this.#coming
    }
  }

  #begin(): Promise<void> {
    const { protocol, hostname, host, port } = this.#origin
    return new Promise((resolve, reject) => {
      this.#options.connect({ hostname, host, protocol, port }, (error, socket) => {
        if (error !== null) reject(error)
        else if (protocol === 'https:' && (socket as Partial<TLSSocket>).alpnProtocol !== 'h2') {
          socket.destroy()
          reject(new errors.SocketError('the upstream does not speak HTTP/2'))
        } else this.#open(socket, resolve, reject)
      })
    })
  }

  /** Waits for the upstream's settings: more requests than it takes at once could be sent before. */
  #open(socket: Socket, resolve: () => void, reject: (error: Error) => void): void {
    const session = http2.connect(this.#origin, { ...TAKEN, createConnection: () => socket })
    const one: Session = { session, startedAt: performance.now(), streams: 0, served: false }
    const { timeoutMs } = this.#options
    const timer = setTimeout(() => session.destroy(new errors.ConnectTimeoutError()), timeoutMs)
    session.once('remoteSettings', ({ maxConcurrentStreams: most }) => {
      clearTimeout(timer)
      if (most === 0) {
        // Another connection would take as little.
        session.destroy(new errors.SocketError('the upstream takes no requests'))
        return
      }
      this.#sessions.add(one)
      if (this.#closed) session.close()
      resolve()
    })
    session.on('goaway', () => this.#sessions.delete(one))
    // Each stream gets an error of its own.
    session.on('error', reject)
    session.on('close', () => {
      clearTimeout(timer)
      this.#sessions.delete(one)
      reject(new errors.SocketError('the upstream ended the connection'))
    })
  }

  #send(
    one: Session,
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): void {
    const over = (): void => void one.streams--
    const sending: StreamOptions = {
      ...{ handler, over, body: options.body as Readable | null },
      timeoutMs: options.headersTimeout ?? 0,
      begun: () => (one.served = true),
      failed: (error, refused) => {
        if (refused || (one.served && one.session.destroyed)) this.#options.ends.add(error)
        // An upstream that left one stream unanswered gets no other on this connection.
        if (error instanceof errors.HeadersTimeoutError) this.#leave(one)
      },
    }
    try {
      new Http2Request(one.session, headersOf(options, this.#origin), sending)
    } catch (error) {
      over()
      handler.onError?.(error as Error)
    }
  }
}

/** RFC 9113, section 8.3.1. Several lines of one name become one. */
function headersOf(
  { method, path, headers }: Dispatcher.DispatchOptions,
  { host, protocol }: URL,
): http2.OutgoingHttpHeaders {
  // Without a prototype: `constructor` is a name like any other.
  const lines = Object.create(null) as Record<string, string>
  lines[constants.HTTP2_HEADER_METHOD] = method
  lines[constants.HTTP2_HEADER_SCHEME] = protocol.slice(0, -1)
  lines[constants.HTTP2_HEADER_AUTHORITY] = host
  lines[constants.HTTP2_HEADER_PATH] = path
  const given = headers as readonly string[]
  for (let index = 0; index < given.length; index += 2) {
    const name = given[index]!.toLowerCase()
    const before = lines[name]
    const separator = name === 'cookie' ? '; ' : ', '
    lines[name] = before === undefined ? given[index + 1]! : before + separator + given[index + 1]!
  }
  return lines
}
