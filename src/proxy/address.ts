import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { isListed, networksOf, plainAddress } from './forwarded.ts'

/** Where a request comes from, as far as that can be believed. */
export type AddressOf = (request: IncomingMessage) => string

/**
 * The address of the caller: the peer's, or where the peer is a trusted proxy, the last one in X-Forwarded-For that is no
 * trusted proxy's. Entries that no trusted proxy has written are ignored. An IPv6 address is reduced to its network (`/64`),
 * because one caller usually has all addresses of a network.
 *
 * @param trustedProxies addresses and CIDRs
 * @throws {TypeError} one of them is neither
 */
export function createAddressOf(trustedProxies: readonly string[]): AddressOf {
  const trusted = networksOf(trustedProxies)
  return ({ socket, headers }) => {
    let address = plainAddress(socket.remoteAddress)
    // Node joins several lines by commas.
    const hops = String(headers['x-forwarded-for'] ?? '').split(',')
    for (let hop = hops.pop(); hop !== undefined && isListed(trusted, address); hop = hops.pop()) {
      const told = plainAddress(withoutPort(hop.trim()))
      // The entry is no address: the proxy that wrote it is limited instead.
      if (isIP(told) === 0) break
      address = told
    }
    return isIP(address) === 6 ? networkOf(address) : address
  }
}

/** Some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`. */
function withoutPort(hop: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{1,5})?$/.exec(hop) ?? []
  return bracketed ?? plain ?? hop
}

function networkOf(address: string): string {
  const [left = [], right] = address.split('::').map((half) => half.split(':').filter(Boolean))
  const missing = right === undefined ? 0 : 8 - left.length - right.length
  const groups = [...left, ...Array<string>(Math.max(0, missing)).fill('0'), ...(right ?? [])]
  const network = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16))
  return `${network.join(':')}::/64`
}
