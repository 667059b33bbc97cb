import http2, { constants } from 'node:http2'
import http from 'node:http'
import type https from 'node:https'
import type { ReadableOptions } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { errorAnswer, GatewayError } from '../errors.ts'
import { nextRequestId } from '../gateway.ts'

type Listener = (request: http.IncomingMessage, response: http.ServerResponse) => unknown

/** RFC 9113, section 6.5.2, recommends at least 100. */
const MAX_STREAMS = 128
/** Node's limit for HTTP/1.1, counted alike: names and values. */
const MAX_HEADER_BYTES = 16_384
/** How long a body may go on after its answer, in milliseconds. */
const LINGER_MS = 5_000
/** As in HTTP/1.1: longer than the idle time of the balancers in front. */
const IDLE_MS = 65_000
/** How long an answer that is written may wait for its caller to take it, in milliseconds. */
const UNTAKEN_MS = 30_000
const CHECK_EVERY_MS = 5_000

/**
 * How often one connection may do what no client has a reason for, before Node ends it. nghttp2 has limits of its own: for
 * streams that are reset at once (a thousand, then 33 a second), for endless heads, and for acknowledgements that the client
 * does not read.
 */
const PATIENCE = {
  /** Frames that make no sense, and empty ones. */
  maxSessionInvalidFrames: 100,
  /** Streams beyond those that it may have open. */
  maxSessionRejectedStreams: 100,
  /** In one SETTINGS frame. */
  maxSettings: 32,
  /** Memory for streams, their heads and what waits to be sent, in MB: further streams are refused. */
  maxSessionMemory: 10,
  /** More than any route takes, so that 431 can be answered; bounded, because a line from HPACK's table costs one byte. */
  maxHeaderListPairs: 600,
}

/** As in HTTP/1.1, where Node's parser accepts no other methods. */
const METHODS: ReadonlySet<string> = new Set(http.METHODS)

export interface Http2 {
  /**
   * Tells all clients to use another connection (GOAWAY); those that connect later are told with their first request.
   * Requests that have been read are answered. Those on their way are refused, so that the client knows that they were not
   * processed and may be sent again (RFC 9113, section 8.7): Node cannot send the first GOAWAY that excludes nothing
   * (section 6.8).
   */
  goAway(): void
}

/**
 * Speaks HTTP/2 (RFC 9113) on those connections of a TLS server that agreed on it (ALPN `h2`). Requests are given the form
 * of HTTP/1.1, so that one path reads both: the authority as Host, no pseudo-header, one Cookie line, and Transfer-Encoding
 * where a body of unknown length follows.
 *
 * They do not pass through Express, which takes every request for one of its own classes. Does NOT push, and does NOT open
 * WebSockets (RFC 8441): clients that are not offered that open them by HTTP/1.1.
 */
export function speakHttp2(server: https.Server, listener: Listener): Http2 {
  const sessions = new Set<http2.ServerHttp2Session>()
  const speaking = http2.createServer({
    Http2ServerRequest: PlainRequest,
    Http2ServerResponse: PlainResponse as typeof http2.Http2ServerResponse,
    settings: {
      maxConcurrentStreams: MAX_STREAMS,
      // Beyond this size Node resets the stream without an answer.
      maxHeaderListSize: 4 * MAX_HEADER_BYTES,
      enablePush: false,
    },
    ...PATIENCE,
  })
  const listen = (request: unknown, response: unknown): void => {
    const [asked, answer] = [request as http.IncomingMessage, response as http.ServerResponse]
    const fault = faultOf(asked)
    if (fault === undefined) listener(asked, answer)
    else refuse(answer, fault)
  }
  for (const event of ['request', 'checkContinue', 'checkExpectation']) speaking.on(event, listen)
  // RFC 9110, section 9.3.6, and RFC 8441, which is not offered.
  speaking.on('connect', (_request: unknown, response: unknown) =>
    refuse(
      response as http.ServerResponse,
      new GatewayError('method_not_allowed', 'there are no tunnels here', { allow: [] }),
    ),
  )
  speaking.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
    // A client's protocol error ends its own connection, and nothing else.
    session.on('error', () => undefined)
    session.setTimeout(IDLE_MS, () => session.close())
  })
  speaking.on('sessionError', () => undefined)
  const sweep = setInterval(giveUpUntaken, CHECK_EVERY_MS).unref()
  server.once('close', () => clearInterval(sweep))

  const spoken = server.listeners('secureConnection').at(-1) as (socket: TLSSocket) => void
  server.off('secureConnection', spoken)
  server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol !== 'h2') spoken.call(server, socket)
    else if (!socket.destroyed) speaking.emit('connection', socket)
  })
  const closeIdleConnections = server.closeIdleConnections.bind(server)
  server.closeIdleConnections = () => {
    closeIdleConnections()
    // The session ends with its last stream, and begins no other.
    for (const session of sessions) if (!session.closed) session.close()
  }
  return {
    goAway() {
      for (const session of sessions) session.close()
      // Not before the first request: the client would have connected in vain. What it sent along with that is read first.
      speaking.on('stream', ({ session }) => setImmediate(() => session?.close()))
    },
  }
}

function sizeOf(rawHeaders: readonly string[]): number {
  return rawHeaders.reduce((size, text) => size + text.length, 0)
}

/** Refuses what Node's HTTP/1.1 parser would not let pass either. */
function faultOf(request: http.IncomingMessage): GatewayError | undefined {
  const { method = '', rawHeaders } = request
  if (sizeOf(rawHeaders) > MAX_HEADER_BYTES) {
    return new GatewayError('headers_too_large', 'the header section is too large')
  }
  if (!METHODS.has(method)) return new GatewayError('invalid_request', 'the method is not known')
  // nghttp2 checks `:path` for `http` and `https` alone.
  const { scheme } = request as { readonly scheme?: string }
  return scheme === 'https' || scheme === 'http'
    ? undefined
    : new GatewayError('invalid_request_target', 'the scheme is not https')
}

function refuse(response: http.ServerResponse, refusal: GatewayError): void {
  const { status, headers, body } = errorAnswer(refusal, nextRequestId())
  response.writeHead(status, headers).end(body)
}

class PlainRequest extends http2.Http2ServerRequest {
  constructor(
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
    options: ReadableOptions,
    rawHeaders: readonly string[],
  ) {
    const lines = linesOf(rawHeaders, stream)
    // Node reads the method and the target from `headers`, so the pseudo-headers stay there.
    headers.host = headers[':authority'] ?? headers.host
    if (lines.includes(UNSIZED)) headers['transfer-encoding'] = 'chunked'
    super(stream, headers, options, lines)
  }

  /** Node ends the body of a stream that was broken off: half a body must not pass for a whole one. */
  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (chunk !== null || !this.stream.closed) return super.push(chunk, encoding)
    this.destroy()
    return false
  }
}

const UNSIZED = 'transfer-encoding'

/** RFC 9113, sections 8.2.3 and 8.3.1. Two hosts that differ stay two lines, which the path refuses. */
function linesOf(raw: readonly string[], stream: http2.Http2Stream): string[] {
  const lines: string[] = []
  const crumbs: string[] = []
  let host: string | undefined
  let framed = false
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]!
    const value = raw[index + 1]!
    if (name === ':authority' || (name === 'host' && value !== host)) {
      host ??= value
      lines.push('host', value)
    } else if (name === 'cookie') crumbs.push(value)
    else if (name !== 'host' && !name.startsWith(':')) {
      framed ||= name === 'content-length'
      lines.push(name, value)
    }
  }
  if (crumbs.length > 0) lines.push('cookie', crumbs.join('; '))
  if (!framed && !stream.endAfterHeaders) lines.push(UNSIZED, 'chunked')
  return lines
}

/** Written answers that callers have not taken yet, the oldest first, and when they were written, in epoch milliseconds. */
const untaken = new Map<PlainResponse, number>()

/** Resets old ones: a caller that opens no window for an answer would keep its request in flight for ever. */
function giveUpUntaken(): void {
  const before = Date.now() - UNTAKEN_MS
  for (const [response, writtenAt] of untaken) {
    if (writtenAt > before) return
    untaken.delete(response)
    response.stream.close(constants.NGHTTP2_CANCEL)
  }
}

class PlainResponse extends http2.Http2ServerResponse {
  /** For code that sets it as in HTTP/1.1. It has no effect: a stream has no connection of its own to end. */
  shouldKeepAlive = true
  #written = false

  constructor(stream: http2.ServerHttp2Stream) {
    super(stream)
    stream.once('close', () => untaken.delete(this))
    stream.once('finish', () => {
      untaken.delete(this)
      // RFC 9113, section 8.1: the answer is complete, and the rest of the request is not wanted.
      const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), LINGER_MS).unref()
      stream.once('close', () => clearTimeout(timer))
    })
  }

  static {
    // Node's class lacks these, though its declarations have them.
    Object.defineProperties(PlainResponse.prototype, {
      destroyed: {
        get(this: PlainResponse) {
          return this.stream.destroyed
        },
      },
      closed: {
        get(this: PlainResponse) {
          return this.stream.closed
        },
      },
      headersSent: {
        get(this: PlainResponse) {
          return this.#written || this.stream.headersSent
        },
      },
    })
  }

  /**
   * Also takes names and values in turn. Lines of one name are joined, except Set-Cookie. The head leaves with what follows,
   * so that a head that is the whole answer ends the stream: gRPC distinguishes such answers from others.
   */
  override writeHead(status: number, ...rest: unknown[]): this {
    const headers = rest.at(-1)
    // Node itself calls this with the status alone when the first byte leaves.
    if (typeof headers !== 'object' || headers === null) return super.writeHead(status)
    const lines = Array.isArray(headers) ? gathered(headers as string[]) : headers
    this.statusCode = status
    for (const [name, value] of Object.entries(lines as Record<string, string | string[]>)) {
      this.setHeader(name, value)
    }
    this.#written = true
    return this
  }

  override end(...rest: unknown[]): this {
    untaken.set(this, Date.now())
    return super.end(...(rest as []))
  }

  /** Resets the stream, so that half an answer does not pass for a whole one. */
  override destroy(): this {
    if (!this.stream.closed) this.stream.close(constants.NGHTTP2_INTERNAL_ERROR)
    return this
  }
}

function gathered(headers: readonly string[]): http2.OutgoingHttpHeaders {
  // Without a prototype: `constructor` is a name like any other.
  const lines = Object.create(null) as http2.OutgoingHttpHeaders
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!.toLowerCase()
    const value = headers[index + 1]!
    const before = lines[name]
    if (before === undefined) lines[name] = name === 'set-cookie' ? [value] : value
    else if (Array.isArray(before)) before.push(value)
    else lines[name] = `${before}, ${value}`
  }
  return lines
}
