import type { ServerResponse } from 'node:http'
import { isNonce } from '../exchange/dpop.ts'
import {
  CHALLENGE,
  CONNECTION,
  CONTENT_LENGTH,
  DROP,
  NONCE,
  PASS,
  TRAILER,
  TRANSFER_ENCODING,
} from './fates.ts'
import { listed, removeListed } from './listed.ts'
import { nameOf } from './names.ts'
import type { Rules } from './rules.ts'

/** The head of an upstream's answer. */
export interface ResponseHead {
  readonly headers: string[]
  /** In bytes; -1 where the answer does not say. */
  readonly contentLength: number
  /** Whether it asks the gateway for another token (RFC 6750, section 3; RFC 9449, section 7.1). */
  readonly challenged: boolean
  /** Whether it asks for nothing but a proof with its nonce (RFC 9449, section 9). */
  readonly nonceWanted: boolean
  /** The nonce that it gives for the next proof. */
  readonly nonce: string | undefined
  /** The headers that its Connection names, in lower case. */
  readonly listed: ReadonlySet<string> | undefined
  /** The trailers that it announces (RFC 9110, section 6.6.2). */
  readonly trailer: string | undefined
}

/**
 * The headers to answer with. Those that concern the connection to the upstream are left out, with those that its Connection
 * names; those that the route sets are added after that. Node frames the answer: by its Content-Length, else as the caller's
 * version of HTTP allows.
 *
 * @throws {Error} a transfer coding that undici has not removed
 */
export function responseHead(
  status: number,
  rawHeaders: readonly Buffer[],
  id: string,
  { fateOfResponse, answer }: Rules,
): ResponseHead {
  const headers: string[] = []
  let contentLength = -1
  let challenged = false
  let nonceWanted = false
  let nonce: string | undefined
  let names: Set<string> | undefined
  let trailer: string | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = nameOf(rawHeaders[index]!)
    const fate = fateOfResponse(name)
    if (fate === DROP) continue
    const value = rawHeaders[index + 1]!.toString('latin1')
    if (fate === PASS) headers.push(name, value)
    else if (fate === CONNECTION) names = listed(value, names)
    else if (fate === CONTENT_LENGTH) contentLength = Number(value)
    else if (fate === CHALLENGE) {
      challenged ||= asksForToken(value)
      nonceWanted ||= asksForNonce(value)
      headers.push(name, value)
    } else if (fate === NONCE) {
      if (isNonce(value)) nonce = value
    } else if (fate === TRAILER) {
      trailer = trailer === undefined ? value : `${trailer}, ${value}`
    } else if (fate === TRANSFER_ENCODING && value.toLowerCase() !== 'chunked') {
      throw new Error('the upstream answered with an unknown transfer coding')
    }
  }
  if (names !== undefined) removeListed(headers, names)
  if (answer.length > 0) headers.push(...answer)
  // RFC 9110, section 8.6: a 101 and a 204 have no Content-Length.
  if (contentLength >= 0 && status !== 204 && status !== 101)
    headers.push('Content-Length', String(contentLength))
  headers.push('X-Request-Id', id)
  nonceWanted &&= nonce !== undefined
  return { headers, contentLength, challenged, nonceWanted, nonce, listed: names, trailer }
}

// RFC 9110, section 11.6.1: commas separate challenges, and the parameters of one challenge as well.
const TOKEN_SCHEME = /(?:^|,)[ \t]*(?:bearer|dpop)(?=[ \t]*(?:,|$)|[ \t]+[^ \t=,])/i

// A string without its closing quote matches to the end of the text: failing from each quote would take quadratic time.
const QUOTED = /"(?:[^"\\]|\\.)*(?:"|\\?$)/g

function asksForToken(challenges: string): boolean {
  return TOKEN_SCHEME.test(challenges.replace(QUOTED, '""'))
}

// The value may be quoted or not (RFC 9110, section 11.2). No other scheme has an error of that name.
const WANTS_NONCE =
  /(?:^|[ \t,])error[ \t]*=[ \t]*(?:"use_dpop_nonce"|use_dpop_nonce)[ \t]*(?:,|$)/i

function asksForNonce(challenges: string): boolean {
  return WANTS_NONCE.test(challenges)
}

/** Headers that other middleware has set stay, unless the upstream's answer has the same name. */
export function writeHead(response: ServerResponse, status: number, headers: string[]): void {
  if (response.getHeaderNames().length === 0) {
    response.writeHead(status, headers)
    return
  }
  // Node would keep only the last of several Set-Cookie lines here.
  for (let index = 0; index < headers.length; index += 2) response.removeHeader(headers[index]!)
  for (let index = 0; index < headers.length; index += 2) {
    response.appendHeader(headers[index]!, headers[index + 1]!)
  }
  response.writeHead(status)
}
