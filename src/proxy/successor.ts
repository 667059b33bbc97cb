import type { Succession } from '../exchange/exchange.ts'

/**
 * Removes headers that callers send to the gateway alone, in every spelling that a server may take for their names.
 *
 * @param owned in lower case
 */
export function removeOwned(headers: string[], owned: ReadonlySet<string>): void {
  removeWhere(headers, (name) => owned.has(name.replace(/[^a-z0-9]/g, '-')))
}

// `CDN-Cache-Control` (RFC 9213) and its kind are for one kind of cache each, which obeys them before `Cache-Control`.
const CACHING = /^(?:(?:.*-)?cache-control|surrogate-control|edge-control|expires|pragma)$/

/**
 * Adds what replaced the caller's refresh token to an answer, and keeps that out of every cache, whatever the upstream says
 * about caching. The header is the gateway's own: an upstream's header of that name is removed.
 */
export function tellSuccessor(headers: string[], { header, successor }: Succession): void {
  removeWhere(headers, (name) => name === header || (successor !== undefined && CACHING.test(name)))
  if (successor !== undefined) headers.push(header, successor, 'cache-control', 'no-store')
}

function removeWhere(headers: string[], isGone: (name: string) => boolean): void {
  let kept = 0
  for (let index = 0; index < headers.length; index += 2) {
    if (isGone(headers[index]!.toLowerCase())) continue
    headers[kept++] = headers[index]!
    headers[kept++] = headers[index + 1]!
  }
  headers.length = kept
}
