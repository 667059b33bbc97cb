import { namedApis, refuseClientless, resolveAuthentication } from './authentications.ts'
import { resolveAuthorize } from './authorizations.ts'
import { refuseUnbindable } from './bindings.ts'
import type { Api, Route } from './config.ts'
import { isExchangedByApi, resolveExchange } from './exchanges.ts'
import type { Faults, Path } from './faults.ts'
import { many, mapping, part, type Named } from './parts.ts'
import { resolveProxy } from './proxies.ts'
import { routeSchema } from './schema.ts'

/**
 * Resolves the routes. Each step of a route is judged by itself, so that a fault in one does not hide those of the others.
 *
 * @param folder where relative paths start
 */
export function resolveRoutes(
  raw: unknown,
  apis: Named<Api>,
  context: { readonly faults: Faults; readonly folder: string },
): readonly Route[] {
  const { faults } = context
  const entries = Array.isArray(raw) ? raw.map(mapping) : []
  const routes = entries.map((entry, index) => resolveRoute(entry, index, apis, context))
  const shapes = entries.map((entry, index) => seenFrom(entry, ['routes', index]))
  refuseRepeatedNames(shapes, faults)
  refuseRepeatedPaths(shapes, faults)
  return routes.filter((route) => route !== undefined)
}

function resolveRoute(
  entry: Readonly<Record<string, unknown>>,
  index: number,
  apis: Named<Api>,
  { faults, folder }: { readonly faults: Faults; readonly folder: string },
): Route | undefined {
  const path = ['routes', index]
  const { shape } = routeSchema
  const unread = (name: string): boolean => faults.within([...path, name])
  const match = unread('match') ? undefined : part(shape.match, entry['match'])
  const authenticate = unread('authenticate')
    ? undefined
    : part(shape.authenticate, entry['authenticate'])
  const authorize = unread('authorize') ? undefined : part(shape.authorize, entry['authorize'])
  const exchange = unread('exchange') ? undefined : part(shape.exchange, entry['exchange'])
  const proxy = unread('proxy') ? undefined : part(shape.proxy, entry['proxy'])

  const named = authenticate && namedApis(authenticate, [...path, 'authenticate'], faults)
  const taken = named && resolveAuthentication(named, apis, faults)
  const good = taken?.map(({ api }) => api) ?? []
  const at = [...path, 'exchange']
  const asking = { apis: good, at, faults, folder }
  const asked = exchange && resolveExchange(exchange, entry['exchange'], asking)
  if (taken !== undefined && asked !== undefined && isExchangedByApi(asked.grant)) {
    refuseClientless(taken, faults)
  }
  const sent =
    proxy &&
    resolveProxy(proxy, {
      match,
      bound: asked?.bound,
      faults,
      folder,
      at: [...path, 'proxy'],
    })
  if (asked !== undefined && sent !== undefined) {
    const { bound } = asked
    refuseUnbindable({ bound, apis: good, upstreams: sent.upstreams, at: path }, faults)
  }
  const judged =
    authorize &&
    resolveAuthorize(authorize, {
      apis: good,
      grant: asked?.grant,
      faults,
      at: [...path, 'authorize'],
    })
  if (!match || good.length === 0 || !judged || !asked || !sent) return undefined
  return {
    name: part(shape.name, entry['name']) ?? match.path,
    match: {
      path: match.path,
      hosts: many(match.host),
      methods: match.methods,
      pathParameters: match.pathParameters,
    },
    authenticate: { apis: good },
    authorize: judged,
    exchange: asked,
    proxy: sent,
  }
}

/** The parts that routes are compared by, also where the routes have faults. */
interface Seen {
  readonly at: Path
  readonly name: string | undefined
  readonly path: string | undefined
  /** An empty string stands for any host. */
  readonly hosts: readonly string[]
  readonly methods: readonly unknown[] | undefined
}

function seenFrom(entry: Readonly<Record<string, unknown>>, at: Path): Seen {
  const { path, host, methods } = mapping(entry['match'])
  const name = entry['name']
  return {
    at,
    name: typeof name === 'string' ? name : typeof path === 'string' ? path : undefined,
    path: typeof path === 'string' ? path : undefined,
    hosts: host === undefined ? [''] : [host].flat().map(String),
    methods: Array.isArray(methods) ? (methods as unknown[]) : undefined,
  }
}

function refuseRepeatedNames(routes: readonly Seen[], faults: Faults): void {
  const owners = new Map<string, number>()
  for (const [index, { at, name, path }] of routes.entries()) {
    if (name === undefined) continue
    const owner = owners.get(name)
    if (owner === undefined) {
      owners.set(name, index)
    } else if (name === path) {
      // The name defaults to the path, which several routes may share.
      faults.add(at, `has the name of routes[${owner}], its path: give it a \`name\` of its own`)
    } else {
      faults.add([...at, 'name'], `repeats the name of routes[${owner}]`)
    }
  }
}

/**
 * Refuses two routes that take the same requests: on one host and path, both list a method, or neither lists any. A route
 * that lists a method may stand beside one without methods, and comes first.
 */
function refuseRepeatedPaths(routes: readonly Seen[], faults: Faults): void {
  const owners = new Map<string, number>()
  for (const [index, { at, path: written, hosts, methods }] of routes.entries()) {
    if (written === undefined) continue
    // The names of parameters do not distinguish paths.
    const path = written.replace(/\{[^/]*\}/g, '{}')
    const listed = methods === undefined ? [''] : methods.map(String)
    const taken = hosts.flatMap((host) => listed.map((method) => `${host} ${method}`))
    const repeated = taken.find((method) => owners.has(`${method} ${path}`))
    if (repeated !== undefined) {
      const owner = owners.get(`${repeated} ${path}`)
      const what = `${repeated} ${written}`.trim()
      faults.add([...at, 'match', 'path'], `repeats routes[${owner}] (${what})`)
    }
    for (const method of taken) owners.set(`${method} ${path}`, index)
  }
}
