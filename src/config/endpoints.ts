import type { z } from 'zod'
import type { EndpointsConfig, Listen, Route, TlsConfig, TokenEndpointConfig } from './config.ts'
import type { endpoints } from './endpoint-options.ts'
import type { Faults, Path } from './faults.ts'
import { isLoopback } from './issuers.ts'
import { unknownName } from './parts.ts'

type EndpointsInput = z.output<typeof endpoints>

/** TLS of each door that has it. */
export interface DoorsTls {
  readonly forwardAuth: TlsConfig | undefined
  readonly token: TlsConfig | undefined
}

/** What is configured of the doors; their faults are added. */
export function resolveEndpoints(
  { forwardAuth, token }: EndpointsInput,
  tls: DoorsTls,
  { routes, faults }: { readonly routes: readonly Route[]; readonly faults: Faults },
): EndpointsConfig {
  return {
    forwardAuth: forwardAuth && secured(forwardAuth, tls.forwardAuth),
    token: token && secured(resolveToken(token, routes, faults), tls.token),
  }
}

export function secured<Listener extends object>(
  input: Listener & { readonly tls?: unknown },
  tls: TlsConfig | undefined,
): Omit<Listener, 'tls'> & { readonly tls?: TlsConfig } {
  const { tls: _, ...listener } = input
  return { ...listener, ...(tls && { tls }) }
}

function resolveToken(
  { listen, routes: names, clients }: NonNullable<EndpointsInput['token']>,
  routes: readonly Route[],
  faults: Faults,
): TokenEndpointConfig {
  const at = ['endpoints', 'token']
  const byName = new Map(routes.map((route) => [route.name, route]))
  if (clients === 'none' && !isLoopback(listen.host)) {
    faults.add([...at, 'clients'], '`none` is for loopback: anybody could exchange tokens here')
  }
  const listed: Route[] = []
  for (const [index, name] of names.entries()) {
    const route = byName.get(name)
    const path = [...at, 'routes', index]
    const fault =
      route === undefined
        ? unknownName('route', name, byName.keys())
        : listed.includes(route)
          ? `repeats \`${name}\``
          : (unhandable(route) ?? (clients === 'none' ? undefined : clientless(route)))
    if (fault !== undefined) faults.add(path, fault)
    else listed.push(route!)
  }
  return { listen, routes: listed, clients }
}

function unhandable({ exchange }: Route): string | undefined {
  if (exchange.bound !== undefined) return 'has tokens that are bound: who gets one cannot use it'
  if (exchange.grant === 'none') return 'has no token to hand out'
  if (exchange.grant === 'refresh-token') return 'redeems refresh tokens, which are not taken here'
  return undefined
}

function clientless({ authenticate: { apis } }: Route): string | undefined {
  if (new Set(apis.map(({ client }) => client?.id)).size > 1) {
    return 'takes tokens of several clients: which of them may ask could not be told'
  }
  return apis.every(({ client }) => client !== undefined && 'secret' in client)
    ? undefined
    : 'needs an API whose client has a secret, by which who asks is known; or `clients: none`'
}

/** A listener, by where it is configured. */
export interface Listening {
  readonly at: Path
  readonly listen: Listen | undefined
}

/** Of two listeners with one address the second could not be had. */
export function refuseRepeatedListeners(listeners: readonly Listening[], faults: Faults): void {
  const owners = new Map<string, Path>()
  for (const { at, listen } of listeners) {
    if (listen === undefined || listen.port === 0) continue
    const address = JSON.stringify([listen.host, listen.port])
    const owner = owners.get(address)
    if (owner !== undefined) faults.add(at, `repeats \`${owner.join('.')}\``)
    else owners.set(address, at)
  }
}
