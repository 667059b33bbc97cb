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

/** Longer than the idle time of the balancers in front, or they reuse what we are closing. */
const KEEP_ALIVE_MS = 65_000
const HEADERS_MS = 10_000
const CHECK_EVERY_MS = 2_000
const REQUEST_MS = 30_000

/** An Express application that decides nothing by itself: no parsers, no views, no guesses about requests. */
export function createApp(): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.set('case sensitive routing', true)
  app.set('strict routing', true)
  return app
}

/** A server that can end well. */
export interface Door extends http.Server {
  /** From now on each answer is the last of its connection: `Connection: close`, and in HTTP/2 a GOAWAY. */
  endConnections(): void
  /** Closes those on which nothing has been asked yet. */
  closeSilentConnections(): void
  /** How many there are. */
  openConnections(): number
}

export type Listener = (request: http.IncomingMessage, response: http.ServerResponse) => unknown

export interface ServerOptions {
  readonly unrouted?: Listener
  readonly tls?: TlsConfig | undefined
  /** How long a whole request may take to arrive, in milliseconds; 0 leaves bodies to who reads them. Default 30 000. */
  readonly requestTimeoutMs?: number
  /** How many connections, and how many requests that wait on one. Default: any. */
  readonly limits?: Pick<ServerLimits, 'connections' | 'pipelined'>
  /** Told of what was turned away. */
  readonly shed?: Shed
  /** Takes the offers of a WebSocket. Default: they are requests like any other. */
  readonly upgrade?: Upgrade
}

/**
 * The HTTP server of an application. What Express itself gives up on, because it cannot read the target, goes to
 * `unrouted`, which answers in our form. With `tls` it speaks nothing else.
 *
 * Express gives each request and response its application's prototypes by `Object.setPrototypeOf`, which on Node 22 and
 * before makes every later property look-up slow: two to three times less throughput. Here they are born with those
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
    // Node does not read what arrives in one piece with an offer of another protocol: nothing may follow such a request.
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
  // Node would answer 100 before anyone has looked at the token.
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
 * Said with the head of each answer, and not when its request arrives: so it holds for what is under way as well, and where
 * others wait behind it the last of them says it. Until somebody asks for it, it costs nothing.
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

/** Node counts those as busy for as long as a request's head may take. */
function silentConnections(server: http.Server): () => void {
  const open = new Set<Socket>()
  const watch = (socket: Socket): void => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  }
  server.on('connection', watch)
  // A TLS handshake counts as bytes read, but is no request yet.
  server.on('secureConnection', watch)
  return () => {
    for (const socket of open) if (socket.bytesRead === 0) socket.destroy()
  }
}

function overloaded(detail: string): GatewayError {
  return new GatewayError('overloaded', detail, { retryAfter: 1 })
}

/** Node reads HTTP/0.9 and HTTP/2.0 as well where they are only said: the framing of neither is that of HTTP/1.1. */
function refuseVersion(response: http.ServerResponse): void {
  refuseLast(response, new GatewayError('invalid_request', 'the request is not HTTP/1.1'))
}

/** The last answer of its connection: what follows has not been waited for. */
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
    // No field of the class: those come to be after Node's constructor, which sets it already.
    declare private _offers: boolean | null

    /**
     * Node hands over the connection of every request of which this is true, once anybody listens for it, and does not
     * read the bodies of those. Of ours only WebSockets are: clients that would rather speak HTTP/2 say so with each
     * request that they begin with, and want it answered all the same (RFC 9110, section 7.8).
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

/** Connections that were handed over, Node does not close. */
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

/** Who ends its side within a request has left: an answer would only be refused (RFC 9112, section 8, asks for none). */
const GONE: ReadonlySet<string | undefined> = new Set(['ECONNRESET', 'HPE_INVALID_EOF_STATE'])

/** Bytes that are not HTTP never reach the path, but are answered in the same form. */
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
 * Whether an answer is under way that ours would be read as a part of: one that has begun, or the one to a request that
 * had arrived whole. Node keeps it on the connection, and looks at it there before it answers by itself.
 */
function answering(socket: Duplex): boolean {
  const { _httpMessage: response } = socket as {
    readonly _httpMessage?: http.ServerResponse | null
  }
  return response != null && (response.headersSent || response.req.complete)
}
