import { once } from 'node:events'
import type { Server } from 'node:http'
import { BlockList, isIP, type AddressInfo } from 'node:net'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** The address cannot be listened on, or is not on loopback. */
export class ListenError extends Error {
  override readonly name = 'ListenError'
}

/**
 * Listens on loopback, and nowhere else: the tenant's passwords and secrets are public.
 *
 * @param listen `host:port`; port 0 stands for any that is free
 * @returns the origin, for example `http://127.0.0.1:9400`
 * @throws {ListenError} when the host is not a loopback address or `localhost`
 */
export async function listenOnLoopback(server: Server, listen: string): Promise<string> {
  const { host, port } = parse(listen)
  // Not left to the resolver, which could give another address for `localhost`.
  const address = host === 'localhost' ? '127.0.0.1' : host
  server.listen(port, address)
  await once(server, 'listening')
  const { port: actual } = server.address() as AddressInfo
  return `http://${isIP(host) === 6 ? `[${host}]` : host}:${actual}`
}

function parse(listen: string): { readonly host: string; readonly port: number } {
  const [, bracketed, bare, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen) ?? []
  const host = bracketed ?? bare
  const port = Number(digits)
  if (host === undefined || port > 65_535) {
    throw new ListenError(`not an address to listen on: ${listen} (expected host:port)`)
  }
  if (!isLoopback(host)) {
    throw new ListenError(`the tenant listens on loopback only: ${host} is not`)
  }
  return { host, port }
}

/** Whether a Host header names this machine, with or without a port. */
export function isLoopbackHost(header: string): boolean {
  const [, bracketed, bare] = /^(?:\[([^\]]+)\]|([^:]+))(?::\d{1,5})?$/.exec(header) ?? []
  return isLoopback((bracketed ?? bare ?? '').toLowerCase())
}

function isLoopback(host: string): boolean {
  const version = isIP(host)
  if (version === 0) return host === 'localhost'
  return loopback.check(host, version === 6 ? 'ipv6' : 'ipv4')
}
