import type { IncomingMessage } from 'node:http'
import type { Route } from '../config/config.ts'
import type { LimitsConfig } from '../config/limits.ts'
import { GatewayError } from '../errors.ts'
import {
  CONNECTION,
  CONTENT_LENGTH,
  COOKIE,
  EXPECT,
  FORWARDING,
  HOST,
  PASS,
  TRANSFER_ENCODING,
  UPGRADE,
} from './fates.ts'
import { keyOffered } from './handshake.ts'
import { listed, removeListed } from './listed.ts'
import { rulesOf } from './rules.ts'

/** A caller's head as it was read: the headers that are forwarded unchanged, and what the others said. */
export interface Received {
  /** Names and values in turn. */
  readonly headers: readonly string[]
  readonly host: string | undefined
  /** Headers about earlier hops (`Forwarded`, `X-Forwarded-*`): names and values in turn. For trusted peers only. */
  readonly told: readonly string[] | undefined
  /** The length of the body, where it has one and the caller announces it. */
  readonly contentLength: string | undefined
  readonly hasBody: boolean
  /** Whether the caller waits for 100 before it sends the body (RFC 9110, section 10.1.1). */
  readonly awaitsContinue: boolean
  /** The key of a WebSocket handshake; undefined for other requests. */
  readonly websocketKey: string | undefined
}

/**
 * Reads the raw header lines, because Node's parsed headers hide duplicates. What the caller's Connection names is removed
 * before the gateway adds its own headers, so that it cannot remove those. Pure, so that it can run before anything is spent
 * on the request. Does NOT look at the caller's credentials beyond leaving them out.
 *
 * @throws {GatewayError} `invalid_request` where the framing or the Host could be read in two ways (RFC 9112, sections
 *   3.2, 6.1 and 6.3), `headers_too_large` and `content_too_large` beyond the route's limits, `expectation_failed`
 */
export function received(request: IncomingMessage, route: Route): Received {
  const { rawHeaders } = request
  const { limits } = route.proxy
  assertHeaders(rawHeaders, limits)
  const { fateOfRequest } = rulesOf(route)
  const keepsCookies = route.proxy.cookies === 'keep'
  const headers: string[] = []
  let host: string | undefined
  let contentLength: string | undefined
  let transferEncoding: string | undefined
  let expect: string | undefined
  let offer: string | undefined
  let names: Set<string> | undefined
  let told: string[] | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!
    const value = rawHeaders[index + 1]!
    const fate = fateOfRequest(name)
    if (fate === PASS) headers.push(name, value)
    else if (fate === HOST) host = once('Host', host, value)
    else if (fate === CONNECTION) names = listed(value, names)
    else if (fate === CONTENT_LENGTH) contentLength = once('Content-Length', contentLength, value)
    else if (fate === TRANSFER_ENCODING) {
      transferEncoding = once('Transfer-Encoding', transferEncoding, value)
    } else if (fate === EXPECT) expect = once('Expect', expect, value)
    else if (fate === UPGRADE) offer = offer === undefined ? value : `${offer}, ${value}`
    else if (fate === COOKIE) {
      if (keepsCookies) headers.push(name, value)
    } else if (fate === FORWARDING) (told ??= []).push(name, value)
  }
  if (names !== undefined) removeListed(headers, names)
  if (host !== undefined && !isHost(host)) {
    throw new GatewayError('invalid_request', 'the Host is not a host')
  }
  const framing = framingOf(request, contentLength, transferEncoding, expect)
  const offered = offer !== undefined && names?.has('upgrade') === true ? offer : undefined
  const websocketKey =
    offered === undefined ? undefined : keyOffered(offered, request, headers, framing, route)
  // Named one by one: a spread costs more than all of the checks.
  const { hasBody, awaitsContinue } = framing
  contentLength = framing.contentLength
  if (limits.body !== undefined && Number(contentLength ?? 0) > limits.body)
    throw tooLarge(limits.body)
  return { headers, host, told, contentLength, hasBody, awaitsContinue, websocketKey }
}

/**
 * Node silently drops header lines beyond about a thousand, here and in an upstream that runs on it. There it would drop
 * the gateway's own headers, which come last.
 */
function assertHeaders(
  rawHeaders: readonly string[],
  { headerCount, headers }: LimitsConfig,
): void {
  if (rawHeaders.length > 2 * headerCount) {
    throw new GatewayError('headers_too_large', `there are more than ${headerCount} header lines`)
  }
  if (headers === undefined) return
  let bytes = 0
  for (const text of rawHeaders) bytes += text.length
  if (bytes > headers) {
    throw new GatewayError(
      'headers_too_large',
      `the header section is larger than ${headers} bytes`,
    )
  }
}

/** RFC 9110, section 15.5.14. */
export function tooLarge(most: number): GatewayError {
  return new GatewayError('content_too_large', `the body is larger than ${most} bytes`)
}

function once(name: string, before: string | undefined, value: string): string {
  if (before !== undefined) throw new GatewayError('invalid_request', `there is a second ${name}`)
  return value
}

// RFC 3986, section 3.2.2, without percent-encoding and the delimiters that host names do not have.
const HOST_FORM = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/

// Callers rarely use more than one host: the last good one is not tested again.
let lastHost = ''

/** Whether a text is a host with an optional port, and nothing that another server could read differently. */
export function isHost(host: string): boolean {
  if (host === lastHost) return true
  if (!HOST_FORM.test(host)) return false
  lastHost = host
  return true
}

type Framing = Pick<Received, 'contentLength' | 'hasBody' | 'awaitsContinue'>

/** The framing of the body, for every method, also for those that usually have none. */
function framingOf(
  { httpVersionMajor, httpVersionMinor }: IncomingMessage,
  contentLength: string | undefined,
  transferEncoding: string | undefined,
  expect: string | undefined,
): Framing {
  const http10 = httpVersionMajor === 1 && httpVersionMinor === 0
  if (transferEncoding !== undefined) {
    const fault =
      contentLength !== undefined
        ? 'the request has both Content-Length and Transfer-Encoding'
        : http10
          ? 'HTTP/1.0 has no Transfer-Encoding'
          : transferEncoding.toLowerCase() !== 'chunked'
            ? 'the only transfer coding supported is chunked'
            : undefined
    if (fault !== undefined) throw new GatewayError('invalid_request', fault)
  } else if (contentLength !== undefined && !/^\d{1,15}$/.test(contentLength)) {
    throw new GatewayError('invalid_request', 'the Content-Length is not a length')
  }
  const sized = contentLength !== undefined && Number(contentLength) > 0
  const hasBody = sized || transferEncoding !== undefined
  // RFC 9110, section 10.1.1: an expectation in an HTTP/1.0 request is ignored.
  const expects = expect !== undefined && !http10
  if (expects && expect.toLowerCase() !== '100-continue') {
    throw new GatewayError('expectation_failed', 'the only expectation supported is 100-continue')
  }
  return {
    contentLength: sized ? contentLength : undefined,
    hasBody,
    awaitsContinue: expects && hasBody,
  }
}
