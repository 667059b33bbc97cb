import type { Socket } from 'node:net'
import { createCertificateOf } from '../authenticate/mtls.ts'
import { createOriginsOf } from '../authenticate/origins.ts'
import type { Config } from '../config/config.ts'
import { createForwardAuth } from '../endpoints/forward-auth.ts'
import { createTokenEndpoint } from '../endpoints/token.ts'
import type { Gateway, GatewayOptions, Stages } from '../gateway.ts'
import { createAddressOf } from '../proxy/address.ts'
import { createPeerOf } from '../proxy/forwarded.ts'
import type { ReplaysOf } from './replays.ts'

/** The door for proxies that forward by themselves; undefined where none is configured. */
export function forwardAuthOf(
  { endpoints, server }: Config,
  stages: Omit<Stages, 'proxy'>,
  shared: Pick<GatewayOptions, 'admission' | 'record'>,
): Gateway | undefined {
  if (endpoints.forwardAuth === undefined) return undefined
  const { original, trustedProxies } = endpoints.forwardAuth
  const peerOf = createPeerOf(trustedProxies)
  const isTrusted = (socket: Socket): boolean => peerOf(socket).trusted
  // The proxies that ask forward the caller's headers: only `server.trustedProxies` are believed about certificates.
  const tellerOf = createPeerOf(server.trustedProxies)
  return createForwardAuth(stages, {
    // The door itself reads the host of the original request, and gives it.
    originsOf: createOriginsOf(server.publicOrigins),
    original,
    isTrusted,
    certificateOf: createCertificateOf((socket) => tellerOf(socket).trusted),
    // The proxies that ask are hops of the caller's request as well.
    addressOf: createAddressOf([...trustedProxies, ...server.trustedProxies]),
    ...shared,
  })
}

/** The door for services that only want the issued token; undefined where none is configured. */
export function tokenEndpointOf(
  { endpoints: { token: endpoint }, server }: Config,
  stages: Pick<Stages, 'authenticate' | 'exchange'>,
  {
    replaysOf,
    ...shared
  }: Pick<GatewayOptions, 'admission' | 'record'> & { readonly replaysOf: ReplaysOf },
): Gateway | undefined {
  if (endpoint === undefined) return undefined
  const certificateOf = createCertificateOf(() => false)
  return createTokenEndpoint(stages, {
    endpoint,
    publicOrigins: server.publicOrigins,
    replays: replaysOf(endpoint),
    // The endpoint has one listener, whatever name it is reached by: a proof may name any of the origins.
    originsOf: () => server.publicOrigins,
    certificateOf,
    addressOf: createAddressOf([]),
    ...shared,
  })
}
