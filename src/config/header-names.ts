/* The names of headers that no route may change. In lower case. */

/** RFC 9110, section 7.6.1, and RFC 9113, section 8.2.2: headers that concern a single connection. */
export const HOP_BY_HOP: readonly string[] = [
  'proxy-connection',
  'keep-alive',
  'te',
  'trailer',
  'upgrade',
  'http2-settings',
  'proxy-authorization',
  'proxy-authenticate',
]

/** Headers that frame the message, or control the connection. */
export const FRAMING: readonly string[] = [
  'connection',
  'content-length',
  'transfer-encoding',
  'expect',
  'host',
]

/** RFC 6455, section 11.3: headers of the WebSocket handshake. */
export const HANDSHAKE: readonly string[] = [
  'sec-websocket-key',
  'sec-websocket-accept',
  'sec-websocket-version',
  'sec-websocket-protocol',
  'sec-websocket-extensions',
]

/** Request headers that only the gateway may set: upstreams trust them, so a caller's own must never reach them. */
export const OWNED: readonly string[] = [
  'authorization',
  'dpop',
  'client-cert',
  'x-real-ip',
  'x-request-id',
  // Some servers serve the target in these headers instead of the one that was matched.
  'x-original-url',
  'x-rewrite-url',
  // Some servers take the method from these headers.
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
]

const OWNED_PREFIXES: readonly string[] = ['x-forwarded-', 'x-behalf-', 'client-cert-']

/**
 * One spelling for all names that servers may take for the same header: CGI and its successors replace all but letters and
 * digits by one character, so that `X_Real_IP` or `Transfer.Encoding` arrives as the header that it resembles.
 */
export function plainName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-')
}

export function isOwned(plain: string): boolean {
  return OWNED.includes(plain) || OWNED_PREFIXES.some((prefix) => plain.startsWith(prefix))
}

const OF_THE_CONNECTION: ReadonlySet<string> = new Set([...HOP_BY_HOP, ...FRAMING, ...HANDSHAKE])
const OF_THE_REQUEST: ReadonlySet<string> = new Set(['forwarded', 'via'])
const OF_THE_ANSWER: ReadonlySet<string> = new Set([
  'x-request-id',
  'dpop-nonce',
  'www-authenticate',
])

/** Why a route must leave a header of the forwarded request alone; undefined where it need not. */
export function requestHeaderProblem(name: string): string | undefined {
  const plain = plainName(name)
  if (OF_THE_CONNECTION.has(plain)) return 'belongs to the connection: it cannot be changed'
  if (plain === 'cookie') return 'is what `proxy.cookies` decides about'
  return isOwned(plain) || OF_THE_REQUEST.has(plain)
    ? 'is for Behalf itself to say: it cannot be changed'
    : undefined
}

/** Why a route must leave a header of the answer alone; undefined where it need not. */
export function responseHeaderProblem(name: string): string | undefined {
  const plain = plainName(name)
  if (OF_THE_CONNECTION.has(plain)) return 'belongs to the connection: it cannot be changed'
  return OF_THE_ANSWER.has(plain) || plain.startsWith('x-behalf-')
    ? 'is for Behalf itself to say: it cannot be changed'
    : undefined
}
