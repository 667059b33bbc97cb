import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'

/** RFC 6455, section 4.1: sixteen bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/

/** Whether Node has handed the connection over, and reads no more HTTP from it. */
function isHandedOver(request: IncomingMessage & { readonly upgrade?: boolean | null }): boolean {
  return request.upgrade === true
}

/**
 * The key of a WebSocket handshake (RFC 6455, section 4.2.1). Undefined for other protocols, whose offers are ignored (RFC
 * 9110, section 7.8), for HTTP/1.0, which has no upgrades, and where the server has no `upgrade` listener. Does NOT judge
 * the version, subprotocols and extensions: those are between the caller and the upstream.
 *
 * @param headers those that are forwarded to the upstream
 * @throws {GatewayError} `invalid_request`: a malformed handshake, or a route that takes no WebSocket
 */
export function keyOffered(
  offer: string,
  request: IncomingMessage,
  headers: readonly string[],
  { hasBody }: { readonly hasBody: boolean },
  route: Route,
): string | undefined {
  // Node still reads HTTP from the connection: the request is one like any other.
  if (!isHandedOver(request)) return undefined
  // Node has stopped reading HTTP, so the end of the body cannot be found.
  if (hasBody) throw refusal('an offer of another protocol has no body here')
  if (offer.trim().toLowerCase() !== 'websocket' || request.httpVersionMinor === 0) return undefined
  if (route.proxy.websocket === undefined) throw refusal('the route takes no WebSocket')
  if (request.method !== 'GET') throw refusal('a WebSocket is opened by GET')
  const [key, ...others] = valuesOf('sec-websocket-key', headers)
  if (key === undefined || others.length > 0 || !KEY.test(key)) {
    throw refusal('there must be one Sec-WebSocket-Key, of sixteen bytes')
  }
  return key
}

function refusal(detail: string): GatewayError {
  return new GatewayError('invalid_request', detail)
}

/** RFC 6455, section 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/**
 * Whether an upstream has really opened the WebSocket that it was asked for (RFC 6455, section 4.1), so that what follows
 * is frames and no HTTP. `rawHeaders` are names and values in turn.
 */
export function isAccepted(status: number, rawHeaders: readonly Buffer[], key: string): boolean {
  if (status !== 101) return false
  const headers = rawHeaders.map((text) => text.toString('latin1'))
  const [upgrade, ...upgrades] = valuesOf('upgrade', headers)
  const [accept, ...accepts] = valuesOf('sec-websocket-accept', headers)
  const expected = createHash('sha1')
    .update(key + GUID)
    .digest('base64')
  return (
    upgrades.length === 0 &&
    upgrade?.toLowerCase() === 'websocket' &&
    accepts.length === 0 &&
    accept === expected
  )
}

function valuesOf(name: string, headers: readonly string[]): string[] {
  return headers.filter((_, at) => at % 2 === 1 && headers[at - 1]!.toLowerCase() === name)
}
