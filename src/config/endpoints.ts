import type { z } from 'zod'
import { type CallersContext, resolveCallers, signs } from './callers.ts'
import type {
  Api,
  EndpointsConfig,
  Listen,
  Route,
  TlsConfig,
  TokenEndpointConfig,
} from './config.ts'
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

export interface EndpointsContext extends CallersContext {
  /** All routes of the configuration. */
  readonly routes: readonly Route[]
}

/** Resolves the configured doors, and adds their faults. */
export function resolveEndpoints(
  { forwardAuth, token }: EndpointsInput,
  tls: DoorsTls,
  context: EndpointsContext,
): EndpointsConfig {
  return {
    forwardAuth: forwardAuth && secured(forwardAuth, tls.forwardAuth),
    token: token && secured(resolveToken(token, context), tls.token),
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
  input: NonNullable<EndpointsInput['token']>,
  context: EndpointsContext,
): TokenEndpointConfig {
  const { listen, routes: names, clients, replay } = input
  const { routes, faults } = context
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
          : (unhandable(route) ??
            (clients === 'none' ? undefined : clientless(route, (api) => signs(input, api))))
    if (fault !== undefined) faults.add(path, fault)
    else listed.push(route!)
  }
  // While a listed route is refused, callers are not judged: they depend on the routes.
  const settled = !faults.within([...at, 'routes'])
  const callerKeys = settled ? resolveCallers(input, listed, context) : new Map<Api, never>()
  return { listen, routes: listed, clients, callerKeys, replay }
}

function unhandable({ exchange }: Route): string | undefined {
  if (exchange.bound !== undefined) return 'has tokens that are bound: who gets one cannot use it'
  if (exchange.grant === 'none') return 'has no token to hand out'
  if (exchange.grant === 'refresh-token') return 'redeems refresh tokens, which are not taken here'
  return undefined
}

function clientless(
  { authenticate: { apis } }: Route,
  signs: (api: Api) => boolean,
): string | undefined {
  if (new Set(apis.map(({ client }) => client?.id)).size > 1) {
    return 'takes tokens of several clients: which of them may ask could not be told'
  }
  const signing = apis.filter(signs).length
  if (signing > 0 && signing < apis.length) {
    return 'takes tokens of APIs whose clients sign who they are, and of others: nobody could ask as all of them'
  }
  return signing > 0 || apis.every(({ client }) => client !== undefined && 'secret' in client)
    ? undefined
    : 'needs an API whose client has a secret or a private key, or is among the `callers`, by which who asks is known; or ' +
        '`clients: none`'
}

/** A listener's address, and the path of the option that sets it. */
export interface Listening {
  readonly at: Path
  readonly listen: Listen | undefined
}

/** The second of two listeners with one address could not be opened. */
export function refuseRepeatedListeners(listeners: readonly Listening[], faults: Faults): void {
  const owners = new Map<string, Path>()
  for (const { at, listen } of listeners) {
    if (listen === undefined || listen.port === 0) continue
    const address = JSON.stringify([listen.host, listen.port])
    const owner = owners.get(address)
    if (owner === undefined) owners.set(address, at)
    // The message holds the address, because that of the other listener may be a default, which the file does not show.
    else
      faults.add(
        at,
        `repeats \`${owner.join('.')}\`: both are port ${listen.port} of ${listen.host}`,
      )
  }
}
