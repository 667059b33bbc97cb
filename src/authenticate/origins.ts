import type { IncomingMessage } from 'node:http'

/**
 * The public origins that a request came by. Where several are configured, a proof for one of them must not be good at
 * another (RFC 9449, section 4.3, check 9): the request's host tells which one is meant. A request by any other host came by
 * none. Where one or none is configured, the host is not looked at.
 */
export type OriginsOf = (
  request: Pick<IncomingMessage, 'socket' | 'headers'>,
  host: string | undefined,
) => readonly string[]

const NONE: readonly string[] = []

/**
 * @param origins those of `server.publicOrigin`
 * @param isTrusted whether the peer of a connection is a proxy whose `X-Forwarded-Host` counts instead of `Host`.
 *   Default: no peer is
 */
export function createOriginsOf(
  origins: readonly string[],
  isTrusted: (socket: IncomingMessage['socket']) => boolean = () => false,
): OriginsOf {
  if (origins.length < 2) return () => origins
  const byHost = new Map<string, string[]>()
  for (const origin of origins) {
    for (const host of hostsOf(origin)) byHost.set(host, [...(byHost.get(host) ?? []), origin])
  }
  return ({ socket, headers }, host) => {
    // Node joins several lines with commas. The result matches no host, as it should: nothing tells which line is meant.
    const told = isTrusted(socket) ? headers['x-forwarded-host'] : undefined
    return byHost.get(String(told ?? host).toLowerCase()) ?? NONE
  }
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }

/** RFC 9110, section 4.2.3: an origin is the same with its default port and without. */
function hostsOf(origin: string): readonly string[] {
  const { protocol, host, port } = new URL(origin)
  return port === '' ? [host, `${host}:${DEFAULT_PORTS[protocol] ?? ''}`] : [host]
}
