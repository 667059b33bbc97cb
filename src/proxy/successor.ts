import type { Succession } from '../exchange/exchange.ts'

/**
 * Takes out what callers bring for the gateway alone, in every spelling that a server may take for that name.
 *
 * @param owned in lower case
 */
export function removeOwned(headers: string[], owned: ReadonlySet<string>): void {
  removeWhere(headers, (name) => owned.has(name.replace(/[^a-z0-9]/g, '-')))
}

// `CDN-Cache-Control` (RFC 9213) and its kind are for one cache each, and go before `Cache-Control` there.
const CACHING = /^(?:(?:.*-)?cache-control|surrogate-control|edge-control|expires|pragma)$/

/**
 * Tells what replaced the caller's refresh token, in an answer that no cache keeps, whatever the upstream says of it. The
 * header is the gateway's: an upstream has nothing to say in it.
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
