import type { IncomingMessage } from 'node:http'
import { GatewayError } from '../errors.ts'
import { forwarding, type Peer } from './forwarded.ts'

/** What becomes of a caller's header. Numbers, because every header of every request is looked up. */
const PASS = 0
const DROP = 1
const CONNECTION = 2
const CONTENT_LENGTH = 3
const TRANSFER_ENCODING = 4
const EXPECT = 5
const HOST = 6
const COOKIE = 7
const FORWARDING = 8
const CHALLENGE = 9
const NONCE = 10
type Fate =
  | typeof PASS
  | typeof DROP
  | typeof CONNECTION
  | typeof CONTENT_LENGTH
  | typeof TRANSFER_ENCODING
  | typeof EXPECT
  | typeof HOST
  | typeof COOKIE
  | typeof FORWARDING
  | typeof CHALLENGE
  | typeof NONCE

/** RFC 9110, section 7.6.1, and RFC 9113, section 8.2.2, beside those that have a fate of their own. */
const HOP_BY_HOP = [
  'proxy-connection',
  'keep-alive',
  'te',
  'trailer',
  'upgrade',
  'http2-settings',
  'proxy-authorization',
  'proxy-authenticate',
]

const REQUEST_FATES = new Map<string, Fate>([
  ...HOP_BY_HOP.map((name) => [name, DROP] as const),
  ['connection', CONNECTION],
  ['content-length', CONTENT_LENGTH],
  ['transfer-encoding', TRANSFER_ENCODING],
  ['expect', EXPECT],
  ['host', HOST],
  ['cookie', COOKIE],
  // Names that are ours to say. What the caller put there must never pass for the gateway's word.
  ['authorization', DROP],
  ['dpop', DROP],
  ['client-cert', DROP],
  ['client-cert-chain', DROP],
  ['x-forwarded-client-cert', DROP],
  ['x-real-ip', DROP],
  ['x-request-id', DROP],
  // Some servers serve these in place of the target that was matched.
  ['x-original-url', DROP],
  ['x-rewrite-url', DROP],
  ['forwarded', FORWARDING],
])

function requestFate(name: string): Fate {
  const lower = name.toLowerCase()
  const fate = REQUEST_FATES.get(lower)
  if (fate !== undefined) return fate
  if (lower.startsWith('x-forwarded-')) return FORWARDING
  // CGI and its heirs turn whatever is not a letter or a digit into one character, so that `X_Real_IP` or
  // `Transfer.Encoding` arrives as the header that it resembles.
  const alias = lower.replace(/[^a-z0-9]/g, '-')
  const owned = alias.startsWith('x-forwarded-') || alias.startsWith('x-behalf-')
  return owned || REQUEST_FATES.has(alias) ? DROP : PASS
}

const RESPONSE_FATES = new Map<string, Fate>([
  ...HOP_BY_HOP.map((name) => [name, DROP] as const),
  ['connection', CONNECTION],
  ['content-length', CONTENT_LENGTH],
  ['transfer-encoding', TRANSFER_ENCODING],
  ['www-authenticate', CHALLENGE],
  // For the proofs of ours: a caller's own never gets to this upstream.
  ['dpop-nonce', NONCE],
  ['x-request-id', DROP],
])

function responseFate(name: string): Fate {
  return RESPONSE_FATES.get(name.toLowerCase()) ?? PASS
}

const MAX_REMEMBERED_NAMES = 1_024
const MAX_REMEMBERED_LENGTH = 40

/** Remembers the judgement by the spelling that was sent. Bounded: who fills it with junk gains a slower look-up. */
function remembered(judge: (name: string) => Fate): (name: string) => Fate {
  const known = new Map<string, Fate>()
  return (name) => {
    const fate = known.get(name)
    if (fate !== undefined) return fate
    const judged = judge(name)
    if (known.size < MAX_REMEMBERED_NAMES && name.length <= MAX_REMEMBERED_LENGTH) {
      known.set(name, judged)
    }
    return judged
  }
}

const fateOfRequest = remembered(requestFate)
const fateOfResponse = remembered(responseFate)

export interface RequestHeadOptions {
  readonly peer: Peer
  readonly keepCookies: boolean
  /** The value of Authorization; undefined sends none. */
  readonly authorization: string | undefined
  /** The value of DPoP (RFC 9449, section 7.1); undefined sends none. */
  readonly proof: string | undefined
  /** The value of X-Request-Id. */
  readonly id: string
}

/** The head of the forwarded request: names and values in turn, as undici and Node take them. */
export interface RequestHead {
  readonly headers: string[]
  /** Whether a body follows, framed by a Content-Length among the headers, else by chunks. */
  readonly hasBody: boolean
  /** Whether the caller waits for 100 before it sends the body (RFC 9110, section 10.1.1). */
  readonly awaitsContinue: boolean
}

/**
 * Node leaves out what stands beyond some thousand lines, here and as an upstream, and says nothing. There it would be ours,
 * which come last.
 */
const MAX_HEADERS = 100

/**
 * The headers to forward, made from the raw lines: what Node parses out of them hides duplicates. The caller's
 * Connection is honoured first and ours are added last, so that it cannot take ours away. Does NOT look at the
 * caller's credentials beyond leaving them out.
 *
 * @throws {GatewayError} `invalid_request` where the framing or the Host could be read in two ways (RFC 9112, sections
 *   3.2, 6.1 and 6.3), `headers_too_large` for more than 100 lines, `expectation_failed`
 */
export function requestHead(request: IncomingMessage, options: RequestHeadOptions): RequestHead {
  const { rawHeaders } = request
  const { peer, keepCookies } = options
  if (rawHeaders.length > 2 * MAX_HEADERS) {
    throw new GatewayError('headers_too_large', `there are more than ${MAX_HEADERS} header lines`)
  }
  const headers: string[] = []
  let host: string | undefined
  let contentLength: string | undefined
  let transferEncoding: string | undefined
  let expect: string | undefined
  let listed: Set<string> | undefined
  let told: Map<string, string> | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!
    const value = rawHeaders[index + 1]!
    const fate = fateOfRequest(name)
    if (fate === PASS) headers.push(name, value)
    else if (fate === HOST) host = once('Host', host, value)
    else if (fate === CONNECTION) listed = list(value, listed)
    else if (fate === CONTENT_LENGTH) contentLength = once('Content-Length', contentLength, value)
    else if (fate === TRANSFER_ENCODING) {
      transferEncoding = once('Transfer-Encoding', transferEncoding, value)
    } else if (fate === EXPECT) expect = once('Expect', expect, value)
    else if (fate === COOKIE) {
      if (keepCookies) headers.push(name, value)
    } else if (fate === FORWARDING && peer.trusted) told = tell(name.toLowerCase(), value, told)
  }
  if (listed !== undefined) removeListed(headers, listed)
  addOurs(headers, request, host, told, options)
  return framed(headers, request, { contentLength, transferEncoding, expect })
}

function once(name: string, before: string | undefined, value: string): string {
  if (before !== undefined) throw new GatewayError('invalid_request', `there is a second ${name}`)
  return value
}

function tell(name: string, value: string, told = new Map<string, string>()): Map<string, string> {
  const before = told.get(name)
  return told.set(name, before === undefined ? value : `${before}, ${value}`)
}

/** The names in a Connection header. Its usual values name no header that would get this far. */
function list(value: string, listed: Set<string> | undefined): Set<string> | undefined {
  if (value === 'keep-alive' || value === 'close' || value === 'Keep-Alive') return listed
  const names = listed ?? new Set()
  for (const name of value.split(',')) names.add(name.trim().toLowerCase())
  return names
}

function removeListed(headers: string[], listed: ReadonlySet<string>): void {
  let kept = 0
  for (let index = 0; index < headers.length; index += 2) {
    if (listed.has(headers[index]!.toLowerCase())) continue
    headers[kept++] = headers[index]!
    headers[kept++] = headers[index + 1]!
  }
  headers.length = kept
}

function addOurs(
  headers: string[],
  { httpVersionMinor }: IncomingMessage,
  host: string | undefined,
  told: ReadonlyMap<string, string> | undefined,
  { peer, authorization, proof, id }: RequestHeadOptions,
): void {
  if (authorization !== undefined) headers.push('authorization', authorization)
  if (proof !== undefined) headers.push('dpop', proof)
  // RFC 9110, section 7.6.3: a line of its own stands at the end of the caller's list.
  headers.push('via', httpVersionMinor === 0 ? '1.0 behalf' : '1.1 behalf', 'x-request-id', id)
  forwarding(headers, peer, host, told)
}

interface Framing {
  readonly contentLength: string | undefined
  readonly transferEncoding: string | undefined
  readonly expect: string | undefined
}

/**
 * Says how long the body is, for every method: Node frames only the methods that usually have one, and an unframed body
 * is the upstream's next request. Without a length among the headers undici sends chunks.
 */
function framed(headers: string[], request: IncomingMessage, framing: Framing): RequestHead {
  const { contentLength, transferEncoding, expect } = framing
  const http10 = request.httpVersionMinor === 0
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
  if (sized) headers.push('content-length', contentLength)
  const hasBody = sized || transferEncoding !== undefined
  // RFC 9110, section 10.1.1: an expectation in an HTTP/1.0 request is ignored.
  if (expect === undefined || http10) return { headers, hasBody, awaitsContinue: false }
  if (expect.toLowerCase() !== '100-continue') {
    throw new GatewayError('expectation_failed', 'the only expectation supported is 100-continue')
  }
  return { headers, hasBody, awaitsContinue: hasBody }
}

/** The head of an upstream's answer. */
export interface ResponseHead {
  readonly headers: string[]
  /** In bytes; -1 where the answer does not tell. */
  readonly contentLength: number
  /** Whether it asks for a better token of ours (RFC 6750, section 3; RFC 9449, section 7.1). */
  readonly challenged: boolean
  /** Whether it asks for nothing but a proof with its nonce (RFC 9449, section 9). */
  readonly nonceWanted: boolean
  /** What it gives for the next proof. */
  readonly nonce: string | undefined
}

/**
 * The headers to answer with: what concerns the connection to the upstream is left out, its own Connection honoured
 * first. Node frames the answer: by its Content-Length, else as the caller's version of HTTP allows.
 *
 * @throws {Error} a transfer coding that undici has not taken off
 */
export function responseHead(
  status: number,
  rawHeaders: readonly Buffer[],
  id: string,
): ResponseHead {
  const headers: string[] = []
  let contentLength = -1
  let challenged = false
  let nonceWanted = false
  let nonce: string | undefined
  let listed: Set<string> | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!.toString('latin1')
    const value = rawHeaders[index + 1]!.toString('latin1')
    const fate = fateOfResponse(name)
    if (fate === PASS) headers.push(name, value)
    else if (fate === CONNECTION) listed = list(value, listed)
    else if (fate === CONTENT_LENGTH) contentLength = Number(value)
    else if (fate === CHALLENGE) {
      challenged ||= asksForToken(value)
      nonceWanted ||= asksForNonce(value)
      headers.push(name, value)
    } else if (fate === NONCE) {
      if (NONCE_VALUE.test(value)) nonce = value
    } else if (fate === TRANSFER_ENCODING && value.toLowerCase() !== 'chunked') {
      throw new Error('the upstream answered with an unknown transfer coding')
    }
  }
  if (listed !== undefined) removeListed(headers, listed)
  // RFC 9110, section 8.6: a 204 has none.
  if (contentLength >= 0 && status !== 204) headers.push('Content-Length', String(contentLength))
  headers.push('X-Request-Id', id)
  nonceWanted &&= nonce !== undefined
  return { headers, contentLength, challenged, nonceWanted, nonce }
}

/** RFC 9449, section 8.1. Longer ones are nobody's nonce, and would be a part of every request. */
const NONCE_VALUE = /^[\x21\x23-\x5b\x5d-\x7e]{1,512}$/

// RFC 9110, section 11.6.1: a list of challenges, in which parameters stand after commas too.
const TOKEN_SCHEME = /(?:^|,)[ \t]*(?:bearer|dpop)(?=[ \t]*(?:,|$)|[ \t]+[^ \t=,])/i

// A string that nothing ends goes on to the end: looked for from each of its quotes, that end would cost the square.
const QUOTED = /"(?:[^"\\]|\\.)*(?:"|\\?$)/g

function asksForToken(challenges: string): boolean {
  return TOKEN_SCHEME.test(challenges.replace(QUOTED, '""'))
}

// Quoted or not (RFC 9110, section 11.2). No other scheme has an error of that name.
const WANTS_NONCE =
  /(?:^|[ \t,])error[ \t]*=[ \t]*(?:"use_dpop_nonce"|use_dpop_nonce)[ \t]*(?:,|$)/i

function asksForNonce(challenges: string): boolean {
  return WANTS_NONCE.test(challenges)
}
