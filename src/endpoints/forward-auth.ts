import type { Socket } from 'node:net'
import type { ForwardAuthConfig } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import {
  createGateway,
  type Asked,
  type Door,
  type Gateway,
  type GatewayOptions,
  type MountedRequest,
  type Stages,
} from '../gateway.ts'
import { isHost } from '../proxy/received.ts'
import { canonicalTarget } from '../route/target.ts'
import { answering, assertHandable } from './handed.ts'

export interface ForwardAuthOptions extends Omit<GatewayOptions, 'door'> {
  readonly original: ForwardAuthConfig['original']
  /** Whether the peer of a connection is a proxy that may ask. */
  readonly isTrusted: (socket: Socket) => boolean
}

/** Proxies ask at this path, or where `original` is `path`, below it. */
const PREFIX = '/forward-auth'

/**
 * The door for proxies that ask which token to forward a request with, and forward it themselves: nginx `auth_request`,
 * Traefik ForwardAuth, Caddy `forward_auth`, Envoy's HTTP `ext_authz`. The caller's original request takes the same path as
 * at the reverse proxy. The answer is 200 with `Authorization`, which the proxy puts in the place of the caller's; or a
 * refusal with its challenge. Does NOT answer anybody but trusted proxies, because it hands issued tokens out.
 */
export function createForwardAuth(
  { match, authenticate, exchange }: Omit<Stages, 'proxy'>,
  options: ForwardAuthOptions,
): Gateway {
  const { original, isTrusted, ...others } = options
  const read = original === 'headers' ? fromHeaders : fromPath
  const door: Door = (request) => {
    if (!isTrusted(request.socket)) {
      throw new GatewayError('not_permitted', 'only trusted proxies may ask here')
    }
    return read(request)
  }
  return createGateway(
    {
      match(method, host, target) {
        const route = match(method, host, target)
        assertHandable(route)
        return route
      },
      authenticate,
      exchange,
      proxy({ response, id }, _route, token) {
        return answering(response, () => {
          response.writeHead(200, {
            authorization: `${token.scheme} ${token.value}`,
            'cache-control': 'no-store',
            'content-length': 0,
            'x-request-id': id,
          })
          response.end()
        })
      },
    },
    { ...others, door },
  )
}

/** Reads the three headers that Traefik sets, each exactly once; the path of the request itself is not used. */
function fromHeaders({ rawHeaders, url = '' }: MountedRequest): Asked {
  if (url !== PREFIX && !url.startsWith(`${PREFIX}?`)) {
    throw new GatewayError('invalid_request_target', `what is asked for here is ${PREFIX}`)
  }
  const method = told(rawHeaders, 'x-forwarded-method')
  const host = told(rawHeaders, 'x-forwarded-host')
  if (!METHOD.test(method)) refuse('X-Forwarded-Method is no method')
  if (!isHost(host)) refuse('X-Forwarded-Host is no host')
  return asked(method, host, told(rawHeaders, 'x-forwarded-uri'))
}

/** Reads what follows the prefix, with the method and the Host of the request itself, as Envoy sends it. */
function fromPath({ url = '', method = '', headers: { host } }: MountedRequest): Asked {
  if (!url.startsWith(`${PREFIX}/`)) {
    throw new GatewayError('invalid_request_target', `what is asked for here is below ${PREFIX}/`)
  }
  return asked(method, host, url.slice(PREFIX.length))
}

function asked(method: string, host: string | undefined, uri: string): Asked {
  // Proxies send no absolute form here: a target without a leading slash comes from a wrong set-up.
  if (!uri.startsWith('/')) {
    throw new GatewayError('invalid_request_target', 'the original target must begin with a slash')
  }
  const target = canonicalTarget(uri, { host })
  return { method, host, target, inner: target }
}

// RFC 9110, section 9.1: methods are case-sensitive. Only upper case is read alike by all servers.
const METHOD = /^[A-Z][A-Z-]{0,31}$/

function told(rawHeaders: readonly string[], name: string): string {
  let found: string | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (rawHeaders[index]!.toLowerCase() !== name) continue
    if (found !== undefined) refuse(`${name} is told more than once`)
    found = rawHeaders[index + 1]!
  }
  return found ?? refuse(`${name} is not told`)
}

/** Refuses instead of falling back to what the request itself says: a proxy that sends no such headers is not set up. */
function refuse(detail: string): never {
  throw new GatewayError('not_permitted', detail)
}
