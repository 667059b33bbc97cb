import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2'
import type { Readable } from 'node:stream'
import { type Dispatcher, errors } from 'undici'

export interface StreamOptions {
  readonly handler: Dispatcher.DispatchHandler
  readonly body: Readable | null
  /** How long the upstream may be silent, in milliseconds. */
  readonly timeoutMs: number
  /** Called when an answer begins. */
  readonly begun: () => void
  /** Called before the handler. `refused`: the upstream has not processed the request (RFC 9113, section 8.7). */
  readonly failed: (error: Error, refused: boolean) => void
  /** Called when nothing more will happen. */
  readonly over: () => void
}

/**
 * One request on an HTTP/2 connection, which calls a handler as undici does. An answer is complete only when the upstream has
 * ended its stream: Node emits `end` for a stream that was reset as well.
 */
export class Http2Request {
  readonly #options: StreamOptions
  readonly #stream: ClientHttp2Stream
  readonly #silence: Silence
  #settled = false
  /** Whether the upstream has ended the stream. */
  #ended = false
  #trailers: readonly string[] = []

  /** @throws {Error} the connection takes no more, or a header cannot be sent */
  constructor(session: ClientHttp2Session, headers: OutgoingHttpHeaders, options: StreamOptions) {
    const { handler, body } = options
    this.#options = options
    const stream = (this.#stream = session.request(headers, { endStream: body === null }))
    this.#silence = new Silence(options, stream, (error) => this.#fail(error))
    watchEnd(stream, () => (this.#ended = true))
    stream.on('error', (error: Error) => this.#fail(error))
    handler.onConnect?.((error) => this.#fail(error ?? new errors.RequestAbortedError()))
    if (this.#settled) return
    this.#listen()
    if (body !== null) upload(body, stream, this.#silence)
  }

  #listen(): void {
    const { handler, begun } = this.#options
    const stream = this.#stream
    stream.on('response', (_headers, flags, ...rest: unknown[]) => {
      this.#guard(() => {
        begun()
        handler.onResponseStarted?.()
        const [status, lines] = headOf(rest[0] as readonly string[])
        handler.onHeaders?.(status, lines, () => stream.resume(), '')
        // A head that is the whole answer is completed at once, so that it leaves as one, too.
        if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) this.#complete()
      })
    })
    stream.on('trailers', (_headers, _flags, ...rest: unknown[]) => {
      this.#guard(() => {
        assertSize(rest[0] as readonly string[])
        this.#trailers = rest[0] as readonly string[]
      })
    })
    stream.on('data', (piece: Buffer) => {
      this.#guard(() => {
        if (handler.onData?.(piece) === false) stream.pause()
      })
    })
    stream.on('end', () => this.#guard(() => this.#complete()))
    stream.on('close', () => this.#fail(new errors.SocketError('the upstream ended the stream')))
  }

  /** An exception of a handler ends its own request, and no other on the connection. */
  #guard(act: () => void): void {
    if (this.#settled) return
    this.#silence.broken()
    try {
      act()
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #settle(): boolean {
    if (this.#settled) return false
    this.#settled = true
    this.#silence.end()
    this.#options.over()
    return true
  }

  #fail(error: Error): void {
    if (!this.#settle()) return
    const { handler, failed } = this.#options
    failed(error, this.#stream.rstCode === constants.NGHTTP2_REFUSED_STREAM)
    // Not `close`: it ends an unfinished body before it resets the stream, and the upstream could take that for a whole one.
    this.#stream.destroy(error)
    handler.onError?.(error)
  }

  #complete(): void {
    const { handler, body } = this.#options
    if (!this.#ended) {
      this.#fail(new errors.SocketError('the upstream reset the stream within its answer'))
    } else if (this.#settle()) {
      // The upstream wants no more of the body, so no more is sent.
      if (!this.#stream.writableEnded) {
        body?.destroy()
        this.#stream.destroy(new errors.InformationalError('answered before the end'))
      }
      handler.onComplete?.([...this.#trailers])
    }
  }
}

/** As undici's limit for HTTP/1.1: names and values. */
const MOST_HEAD_BYTES = 16_384

/** @throws {Error} the head is too large: compressed, a few bytes on the wire can stand for a long line */
function assertSize(raw: readonly string[]): void {
  let bytes = 0
  for (const text of raw) bytes += text.length
  if (bytes > MOST_HEAD_BYTES) throw new errors.HeadersOverflowError()
}

/** Names and values, without the status, which comes first. */
function headOf(raw: readonly string[]): [status: number, lines: Buffer[]] {
  assertSize(raw)
  let status = 0
  const lines: Buffer[] = []
  for (let index = 0; index < raw.length; index += 2) {
    if (raw[index] === constants.HTTP2_HEADER_STATUS) status = Number(raw[index + 1])
    else lines.push(Buffer.from(raw[index]!, 'latin1'), Buffer.from(raw[index + 1]!, 'latin1'))
  }
  return [status, lines]
}

/** Node pushes the end of a stream that the upstream has ended before it closes the stream; after a reset it closes first. */
function watchEnd(stream: ClientHttp2Stream, ended: () => void): void {
  const push = stream.push.bind(stream)
  stream.push = (piece: unknown, encoding?: BufferEncoding) => {
    if (piece === null && !stream.closed) ended()
    return push(piece, encoding)
  }
}

function upload(body: Readable, stream: ClientHttp2Stream, silence: Silence): void {
  body.on('data', (piece: Buffer) => {
    silence.broken()
    if (stream.destroyed) body.pause()
    else if (!stream.write(piece)) body.pause()
  })
  stream.on('drain', () => {
    silence.broken()
    body.resume()
  })
  body.on('end', () => {
    silence.broken()
    if (!stream.destroyed) stream.end()
  })
}

/** Times the silence of the upstream. The time in which a slow caller sends or reads does not count. */
class Silence {
  readonly #timer: NodeJS.Timeout | undefined

  constructor(
    { timeoutMs, body }: StreamOptions,
    stream: ClientHttp2Stream,
    fail: (error: Error) => void,
  ) {
    if (timeoutMs === 0) return
    this.#timer = setTimeout(() => {
      const awaitsCaller = (body as { awaitsCaller?: boolean } | null)?.awaitsCaller === true
      if (awaitsCaller || stream.isPaused()) this.#timer?.refresh()
      else fail(new errors.HeadersTimeoutError())
    }, timeoutMs)
    this.#timer.unref()
  }

  broken(): void {
    this.#timer?.refresh()
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}
