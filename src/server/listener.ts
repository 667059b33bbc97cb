import http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import express, { type Express, type Request, type Response } from 'express'
import type { TlsConfig } from '../config/config.ts'
import type { ServerLimits } from '../config/limits.ts'
import { errorAnswer, GatewayError } from '../errors.ts'
import { nextRequestId } from '../gateway.ts'
import { boundConnections } from './connections.ts'
import { speakHttp2 } from './http2.ts'
import { createPipeline, type Pipeline } from './pipeline.ts'
import type { Shed } from './shed.ts'
import { createTlsServer } from './tls.ts'
import type { Upgrade } from './upgrade.ts'

/** Longer than the idle time of the balancers in front, or else they reuse connections that the gateway is closing. */
const KEEP_ALIVE_MS = 65_000
const HEADERS_MS = 10_000
const CHECK_EVERY_MS = 2_000
const REQUEST_MS = 30_000

/** An Express application without parsers, views and defaults of its own. */
export function createApp(): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.set('case sensitive routing', true)
  app.set('strict routing', true)
  return app
}

/** A server that can end without losing requests. */
export interface Door extends http.Server {
  /** From now on each answer is the last of its connection: `Connection: close`, and in HTTP/2 a GOAWAY. */
  endConnections(): void
  /** Closes the connections on which nothing has arrived yet. */
  closeSilentConnections(): void
  /** How many connections are open. */
  openConnections(): number
}

export type Listener = (request: http.IncomingMessage, response: http.ServerResponse) => unknown

export interface ServerOptions {
  readonly unrouted?: Listener
  readonly tls?: TlsConfig | undefined
  /** How long a whole request may take to arrive, in milliseconds; 0: whoever reads the body limits it. Default 30 000. */
  readonly requestTimeoutMs?: number
  /** The most connections, and the most requests that wait on one of them. Default: any number. */
  readonly limits?: Pick<ServerLimits, 'connections' | 'pipelined'>
  /** Called for each connection or request that was turned away. */
  readonly shed?: Shed
  /** Takes WebSocket handshakes. Default: they are requests like any other. */
  readonly upgrade?: Upgrade
}

/**
 * The HTTP server of an application. A request whose target Express cannot read goes to `unrouted`, which answers in the
 * gateway's form. With `tls` the server speaks nothing else.
 *
 * Express gives each request and response its application's prototypes by `Object.setPrototypeOf`, which on Node 22 and
 * before makes every later property look-up slow: two to three times less throughput. Here they are created with those
 * prototypes, and setting them again changes nothing.
 */
export function createServer(app: Express, given: ServerOptions = {}): Door {
  const { unrouted = refuseUnread, requestTimeoutMs = REQUEST_MS, tls, upgrade } = given
  const { limits, shed } = given
  const pipeline = createPipeline(limits?.pipelined ?? Infinity)
  const listener: Listener = (request, response) => {
    if (request.httpVersionMajor !== 1) {
      refuseVersion(response)
      return
    }
    const place = pipeline.place(request, response)
    if (place !== 'taken') {
      if (place === 'last') refusePipelined(response, shed)
      return
    }
    // Node loses what arrives in one piece with an offer of another protocol, so nothing may follow such a request.
    if (request.headers.upgrade !== undefined) response.shouldKeepAlive = false
    return app(request as Request, response as Response, () => unrouted(request, response))
  }
  const options = {
    ...presetPrototypes(app),
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: Math.min(HEADERS_MS, requestTimeoutMs || HEADERS_MS),
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: CHECK_EVERY_MS,
    insecureHTTPParser: false,
    requireHostHeader: true,
  }
  const server = tls === undefined ? http.createServer(options) : createTlsServer(tls, options)
  server.on('request', listener)
  // Without these listeners Node would answer 100 before the token has been looked at.
  server.on('checkContinue', listener)
  server.on('checkExpectation', listener)
  server.on('connect', refuseTunnel)
  const http2 =
    server instanceof https.Server && tls?.http2 === true ? speakHttp2(server, unrouted) : undefined
  if (upgrade !== undefined) {
    server.on('upgrade', upgrade)
    closeUpgraded(server)
  }
  server.on('clientError', refuseMalformed)
  const closeSilentConnections = silentConnections(server)
  const openConnections = boundConnections(server, {
    most: limits?.connections ?? Infinity,
    refused: () => shed?.('connections'),
    refusal: () => onWire(overloaded('too many connections are open')),
  })
  return Object.assign(server, {
    closeSilentConnections,
    openConnections,
    endConnections() {
      endWithAnswers(app, pipeline)
      http2?.goAway()
    },
  })
}

/**
 * Adds `Connection: close` when the head of an answer is written, not when its request arrives. So it covers requests that
 * are under way, and of several that wait on a connection only the last answer has it. It costs nothing before it is
 * called.
 */
function endWithAnswers({ response }: Express, pipeline: Pipeline): void {
  const { writeHead } = response
  response.writeHead = function (this: Response, ...given: Parameters<typeof writeHead>) {
    if (pipeline.isLast(this)) {
      this.shouldKeepAlive = false
      pipeline.end(this)
    }
    return writeHead.apply(this, given)
  } as typeof writeHead
}

/** Node's `closeIdleConnections` spares connections without a request yet, for as long as a head may take to arrive. */
function silentConnections(server: http.Server): () => void {
  const open = new Set<Socket>()
  const watch = (socket: Socket): void => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  }
  server.on('connection', watch)
  // The raw socket has read a handshake by then, which is no request: the TLS socket counts what follows it.
  server.on('secureConnection', watch)
  return () => {
    for (const socket of open) if (socket.bytesRead === 0) socket.destroy()
  }
}

function overloaded(detail: string): GatewayError {
  return new GatewayError('overloaded', detail, { retryAfter: 1 })
}

/** Node also parses request lines that say HTTP/0.9 or HTTP/2.0, whose framing is not that of HTTP/1.1. */
function refuseVersion(response: http.ServerResponse): void {
  refuseLast(response, new GatewayError('invalid_request', 'the request is not HTTP/1.1'))
}

/** The last answer of its connection: what follows on it is not read. */
function refusePipelined(response: http.ServerResponse, shed: Shed | undefined): void {
  shed?.('pipelined')
  refuseLast(response, overloaded('too many requests wait on this connection'))
}

function refuseLast(response: http.ServerResponse, refusal: GatewayError): void {
  response.shouldKeepAlive = false
  refuse(response, refusal)
}

function refuse(response: http.ServerResponse, refusal: GatewayError): void {
  const { status, headers, body } = errorAnswer(refusal, nextRequestId())
  response.writeHead(status, headers).end(body)
}

function presetPrototypes(app: Express): http.ServerOptions {
  class PresetRequest extends http.IncomingMessage {
    // Declared only: a field would be initialised after Node's constructor, which has set it by then.
    declare private _offers: boolean | null

    /**
     * Where there is an `upgrade` listener, Node hands over the connection of every request for which this is true, and
     * does not read its body. Here it is true of WebSockets alone: clients that prefer HTTP/2 offer that with their first
     * request, and expect an answer all the same (RFC 9110, section 7.8).
     */
    get upgrade(): boolean | null {
      if (this._offers !== true || this.method === 'CONNECT') return this._offers
      return this.headers.upgrade?.toLowerCase() === 'websocket'
    }

    set upgrade(offers: boolean | null) {
      this._offers = offers
    }
  }
  class PresetResponse<
    Of extends http.IncomingMessage = http.IncomingMessage,
  > extends http.ServerResponse<Of> {}
  Object.setPrototypeOf(PresetRequest.prototype, app.request)
  Object.setPrototypeOf(PresetResponse.prototype, app.response)
  app.request = PresetRequest.prototype as unknown as Request
  app.response = PresetResponse.prototype as unknown as Response
  return { IncomingMessage: PresetRequest, ServerResponse: PresetResponse } as http.ServerOptions
}

/** Node's `closeAllConnections` does not close connections that were handed over. */
function closeUpgraded(server: http.Server): void {
  const open = new Set<Duplex>()
  server.on('upgrade', (_request, socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  const closeAllConnections = server.closeAllConnections.bind(server)
  server.closeAllConnections = () => {
    closeAllConnections()
    for (const socket of open) socket.destroy()
  }
}

/** The caller ended its side within a request: it would not take an answer (RFC 9112, section 8, asks for none). */
const GONE: ReadonlySet<string | undefined> = new Set(['ECONNRESET', 'HPE_INVALID_EOF_STATE'])

/** Answers bytes that are not HTTP in the same form: they never reach the path. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (GONE.has(error.code) || !socket.writable || answering(socket)) {
    socket.destroy()
    return
  }
  const refusal =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new GatewayError('headers_too_large', 'the header section is too large')
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new GatewayError('request_timeout', 'the request did not arrive in time')
        : new GatewayError('invalid_request', 'the request is not well-formed HTTP/1.1')
  endWith(socket, refusal)
}

function refuseUnread(_request: http.IncomingMessage, response: http.ServerResponse): void {
  refuse(response, new GatewayError('invalid_request_target', 'the request target cannot be read'))
}

/** RFC 9110, section 9.3.6: Node hands over the connection of a CONNECT, and closes it where nobody takes it. */
function refuseTunnel(_request: http.IncomingMessage, socket: Duplex): void {
  endWith(
    socket,
    new GatewayError('method_not_allowed', 'there are no tunnels here', { allow: [] }),
  )
}

function endWith(socket: Duplex, refusal: GatewayError): void {
  socket.end(onWire(refusal))
}

function onWire(refusal: GatewayError): string {
  const { status, headers, body } = errorAnswer(refusal, nextRequestId())
  const lines = Object.entries({
    ...headers,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  const statusLine = `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\n`
  return `${statusLine}${lines.join('')}\r\n${body}`
}

/**
 * Whether an answer is under way that a refusal would be read as a part of: it has begun, or its request arrived whole. Node
 * keeps it on the socket, and also looks at it there before it answers malformed requests itself.
 */
function answering(socket: Duplex): boolean {
  const { _httpMessage: response } = socket as {
    readonly _httpMessage?: http.ServerResponse | null
  }
  return response != null && (response.headersSent || response.req.complete)
}
