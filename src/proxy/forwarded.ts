import { BlockList, isIP, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** Who is at the other end of a caller's connection. */
export interface Peer {
  /** Without IPv6's mapping of IPv4 and without a zone; `unknown` where the connection has no address. */
  readonly address: string
  readonly protocol: 'http' | 'https'
  /** Whether what it says about earlier hops is believed. */
  readonly trusted: boolean
  /** The last Host that it sent, and its element of Forwarded: both rarely change on one connection. */
  host: string | undefined
  element: string
}

export type PeerOf = (socket: Socket) => Peer

/**
 * Finds the peer of a connection, and remembers it as long as the connection lives.
 *
 * @param trustedProxies addresses and CIDRs
 * @throws {TypeError} one of them is neither
 */
export function createPeerOf(trustedProxies: readonly string[]): PeerOf {
  const trusted = networksOf(trustedProxies)
  const peers = new WeakMap<Socket, Peer>()
  return (socket) => {
    const known = peers.get(socket)
    if (known !== undefined) return known
    const address = plainAddress(socket.remoteAddress)
    const peer: Peer = {
      address,
      protocol: (socket as Partial<TLSSocket>).encrypted === true ? 'https' : 'http',
      // Most gateways trust nobody, and the look-up costs as much as everything else here.
      trusted: trustedProxies.length > 0 && isListed(trusted, address),
      host: undefined,
      element: '',
    }
    peers.set(socket, peer)
    return peer
  }
}

export function isListed(networks: BlockList, address: string): boolean {
  const version = isIP(address)
  return version !== 0 && networks.check(address, version === 6 ? 'ipv6' : 'ipv4')
}

/** RFC 7239, section 6.2. */
const UNKNOWN = 'unknown'

/** Without IPv6's mapping of IPv4 and without a zone. */
export function plainAddress(address = UNKNOWN): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '')
}

/** @throws {TypeError} one is neither an address nor a CIDR */
export function networksOf(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', prefix, ...rest] = range.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    const bits = family === 'ipv6' ? 128 : 32
    const length = prefix === undefined ? bits : Number(prefix)
    const whole = /^\d{1,3}$/.test(prefix ?? '0') && length <= bits
    if (isIP(address) === 0 || rest.length > 0 || !whole) {
      throw new TypeError(`not an address or CIDR: ${range}`)
    }
    list.addSubnet(address, length, family)
  }
  return list
}

/**
 * Adds X-Forwarded-For, -Proto and -Host, and Forwarded (RFC 7239). What a trusted peer sent is forwarded, with the peer
 * itself added to the lists. `told` is by names in lower case; undefined where the peer is not trusted or sent nothing.
 */
export function forwarding(
  headers: string[],
  peer: Peer,
  host: string | undefined,
  told: ReadonlyMap<string, string> | undefined,
): void {
  if (host !== peer.host || peer.element === '') {
    peer.element = element(peer, host)
    peer.host = host
  }
  if (told !== undefined) {
    continued(headers, peer, host, told)
    return
  }
  headers.push('x-forwarded-for', peer.address, 'x-forwarded-proto', peer.protocol)
  if (host !== undefined) headers.push('x-forwarded-host', host)
  headers.push('forwarded', peer.element)
}

function continued(
  headers: string[],
  peer: Peer,
  host: string | undefined,
  told: ReadonlyMap<string, string>,
): void {
  const list = (name: string, own: string): void => {
    const before = told.get(name)
    headers.push(name, before === undefined ? own : `${before}, ${own}`)
  }
  list('x-forwarded-for', peer.address)
  list('forwarded', peer.element)
  headers.push('x-forwarded-proto', told.get('x-forwarded-proto') ?? peer.protocol)
  const asked = told.get('x-forwarded-host') ?? host
  if (asked !== undefined) headers.push('x-forwarded-host', asked)
  for (const [name, value] of told) if (!OURS.has(name)) headers.push(name, value)
}

const OURS = new Set(['x-forwarded-for', 'forwarded', 'x-forwarded-proto', 'x-forwarded-host'])

/** RFC 7239, section 4: colons and brackets are no characters of a token, so that such values are quoted. */
function element({ address, protocol }: Peer, host: string | undefined): string {
  const node = address.includes(':') ? `"[${address}]"` : address
  const asked = host === undefined ? '' : `;host=${/[:[]/.test(host) ? `"${host}"` : host}`
  return `for=${node}${asked};proto=${protocol}`
}
