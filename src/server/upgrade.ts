import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Gateway, MountedRequest } from '../gateway.ts'
import { UpgradeResponse } from '../proxy/upgrade-response.ts'

/** A listener of `upgrade` of Node's HTTP servers. */
export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

/**
 * Takes requests that offer another protocol along the same path as all others. Express never sees them, so this sets
 * `originalUrl`, `baseUrl` and `url` as Express would below a mount.
 */
export function upgrading(gateway: Gateway, mountPath: () => string = () => ''): Upgrade {
  return (request, socket, head) => {
    const response = UpgradeResponse.to(request, socket as Socket, head)
    if (response === undefined) socket.destroy()
    else void gateway(mountedAt(mountPath(), request), response)
  }
}

/** A request that is not below the mount keeps its `url`: the gateway refuses it. */
function mountedAt(mount: string, request: IncomingMessage): MountedRequest {
  const { url = '' } = request
  const isBelow = mount !== '' && url.startsWith(`${mount}/`)
  return Object.assign(request, {
    originalUrl: url,
    baseUrl: isBelow ? mount : '',
    url: isBelow ? url.slice(mount.length) : url,
  })
}
