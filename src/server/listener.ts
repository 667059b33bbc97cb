import http from 'node:http'
import type { Duplex } from 'node:stream'
import express, { type Express } from 'express'
import { errorAnswer, GatewayError } from '../errors.ts'
import { nextRequestId } from '../gateway.ts'

/** Longer than the idle time of the balancers in front, or they reuse what we are closing. */
const KEEP_ALIVE_MS = 65_000
const HEADERS_MS = 10_000
const CHECK_EVERY_MS = 2_000

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

/**
 * The HTTP server of an application.
 *
 * Express gives each request and response its application's prototypes by `Object.setPrototypeOf`, which on Node 22 and
 * before makes every later property look-up slow: two to three times less throughput. Here they are born with those
 * prototypes, and setting them again changes nothing.
 */
export function createServer(app: Express): http.Server {
  const server = http.createServer(
    {
      ...presetPrototypes(app),
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: HEADERS_MS,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      insecureHTTPParser: false,
      requireHostHeader: true,
    },
    app,
  )
  // Node would answer 100 before anyone has looked at the token.
  server.on('checkContinue', app)
  server.on('checkExpectation', app)
  server.on('clientError', refuseMalformed)
  return server
}

function presetPrototypes(app: Express): http.ServerOptions {
  class Request extends http.IncomingMessage {}
  class Response<
    Of extends http.IncomingMessage = http.IncomingMessage,
  > extends http.ServerResponse<Of> {}
  Object.setPrototypeOf(Request.prototype, app.request)
  Object.setPrototypeOf(Response.prototype, app.response)
  app.request = Request.prototype as unknown as express.Request
  app.response = Response.prototype as unknown as express.Response
  return { IncomingMessage: Request, ServerResponse: Response } as http.ServerOptions
}

/** What is not HTTP never reaches the path; it is answered in the same form all the same. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable || answering(socket)) {
    socket.destroy()
    return
  }
  const refusal =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new GatewayError('headers_too_large', 'the header section is too large')
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new GatewayError('request_timeout', 'the request did not arrive in time')
        : new GatewayError('invalid_request', 'the request is not well-formed HTTP/1.1')
  const { status, headers, body } = errorAnswer(refusal, nextRequestId())
  const lines = Object.entries({
    ...headers,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  const statusLine = `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\n`
  socket.end(`${statusLine}${lines.join('')}\r\n${body}`)
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
