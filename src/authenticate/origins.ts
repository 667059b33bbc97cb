import type { IncomingMessage } from 'node:http'

/**
 * The public origins that a request came by. With one or none configured that is no question. With several a proof for one
 * of them must not be good at another (RFC 9449, section 4.3, check 9): the request's host tells which of them is meant,
 * and one by another name was for none.
 */
export type OriginsOf = (
  request: Pick<IncomingMessage, 'socket' | 'headers'>,
  host: string | undefined,
) => readonly string[]

const NONE: readonly string[] = []

/**
 * @param origins as `server.publicOrigin` has them
 * @param isTrusted whether the peer of a connection is a proxy whose `X-Forwarded-Host` counts in the place of `Host`.
 *   Default: none is
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
    // Several lines are one with commas to Node, and no host: nobody can tell which of them is meant.
    const told = isTrusted(socket) ? headers['x-forwarded-host'] : undefined
    return byHost.get(String(told ?? host).toLowerCase()) ?? NONE
  }
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }

/** RFC 9110, section 4.2.3: with its default port, and without, it is one. */
function hostsOf(origin: string): readonly string[] {
  const { protocol, host, port } = new URL(origin)
  return port === '' ? [host, `${host}:${DEFAULT_PORTS[protocol] ?? ''}`] : [host]
}
