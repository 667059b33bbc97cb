import type { IncomingMessage } from 'node:http'
import type { HeaderSetting } from '../config/config.ts'
import { forwarding, type Peer } from './forwarded.ts'
import type { Received } from './received.ts'
import { addSettings } from './rules.ts'

export interface RequestHeadOptions {
  readonly peer: Peer
  /** The value of Authorization; undefined sends none. */
  readonly authorization: string | undefined
  /** The value of DPoP (RFC 9449, section 7.1); undefined sends none. */
  readonly proof: string | undefined
  /** The value of X-Request-Id. */
  readonly id: string
  /** The headers that the route sets, and the claims that fill them. */
  readonly set: readonly HeaderSetting[]
  readonly claims: Readonly<Record<string, unknown>>
}

/**
 * The headers to forward, as undici takes them: those of the caller that are left, then the gateway's own. Without a
 * Content-Length among them a body is sent in chunks.
 *
 * @throws {GatewayError} `not_permitted`: a claim cannot be written in its header
 */
export function requestHead(
  request: IncomingMessage,
  received: Received,
  options: RequestHeadOptions,
): string[] {
  const { peer, authorization, proof, id, set, claims } = options
  const { host, told, contentLength } = received
  const headers = received.headers.slice()
  if (set.length > 0) addSettings(headers, set, claims)
  if (authorization !== undefined) headers.push('authorization', authorization)
  if (proof !== undefined) headers.push('dpop', proof)
  // RFC 9110, section 7.6.3: a line of its own adds to the end of the caller's list.
  const { httpVersionMajor: major, httpVersionMinor: minor } = request
  const via = minor === 1 ? '1.1 behalf' : major === 2 ? '2.0 behalf' : '1.0 behalf'
  headers.push('via', via, 'x-request-id', id)
  forwarding(headers, peer, host, peer.trusted && told !== undefined ? byName(told) : undefined)
  if (contentLength !== undefined) headers.push('content-length', contentLength)
  return headers
}

function byName(told: readonly string[]): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  for (let index = 0; index < told.length; index += 2) {
    const name = told[index]!.toLowerCase()
    const before = values.get(name)
    values.set(name, before === undefined ? told[index + 1]! : `${before}, ${told[index + 1]!}`)
  }
  return values
}
