import type { Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { Target } from './target.ts'

/**
 * `host` is there for routes that will tell hosts apart; no route does yet, so that it never decides.
 *
 * @throws {GatewayError} `route_not_found`, `method_not_allowed` (with the methods that are), or
 *   `invalid_request_target` for a path parameter where the route takes none
 */
export type Match = (method: string, host: string | undefined, target: Target) => Route

/** A place in the tree of whole segments: looking one up costs its depth, however many routes there are. */
interface Place {
  readonly below: Map<string, Place>
  taken: Taken | undefined
}

/** What the routes of exactly one path take. */
interface Taken {
  readonly methods: Map<string, Route>
  others: Route | undefined
}

/**
 * The route with the longest path that holds the target's in whole segments, compared case-sensitively. The most
 * specific path decides alone: where its routes do not take the method the answer is 405, never a shorter path, which
 * may be guarded less. On one path, a route that lists the method comes before one without methods. HEAD is taken
 * only where it is listed or nothing is: RFC 9110, section 9.3.2, ties it to GET's meaning, not to its permission.
 *
 * @throws {TypeError} two routes take the same requests
 */
export function createMatch(routes: readonly Route[]): Match {
  const root: Place = { below: new Map(), taken: undefined }
  for (const route of routes) take(placeOf(root, route.match.path), route)
  return (method, _host, { path }) => {
    // Matched as servers that know path parameters see it, or `/orders;x` would slip past the route of `/orders`.
    const parameters = path.includes(';')
    const taken = mostSpecific(root, parameters ? path.replace(/;[^/]*/g, '') : path)
    if (taken === undefined) throw new GatewayError('route_not_found', 'no route has this path')
    const route = taken.methods.get(method) ?? otherwise(taken, method)
    if (parameters && !route.match.pathParameters) {
      throw new GatewayError('invalid_request_target', 'the route takes no path parameters')
    }
    return route
  }
}

function mostSpecific(root: Place, path: string): Taken | undefined {
  let place = root
  let { taken } = root
  for (let start = 1; place.below.size > 0;) {
    const slash = path.indexOf('/', start)
    const next = place.below.get(slash < 0 ? path.slice(start) : path.slice(start, slash))
    if (next === undefined) break
    place = next
    taken = place.taken ?? taken
    if (slash < 0) break
    start = slash + 1
  }
  return taken
}

/** What CONNECT and TRACE ask for is the gateway's own business: a tunnel, and the headers that it was sent. */
const NEVER_UNLISTED = new Set(['CONNECT', 'TRACE'])
const COMMON = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

function otherwise({ methods, others }: Taken, method: string): Route {
  if (others !== undefined && !NEVER_UNLISTED.has(method)) return others
  const allow = new Set([...methods.keys(), ...(others === undefined ? [] : COMMON)])
  throw new GatewayError('method_not_allowed', `the route does not take ${method}`, {
    allow: [...allow],
  })
}

function placeOf(root: Place, path: string): Place {
  let place = root
  for (const segment of path.split('/')) {
    // Before the first slash, and after the last: `/orders/` is `/orders`.
    if (segment === '') continue
    const known = place.below.get(segment)
    const next = known ?? { below: new Map(), taken: undefined }
    if (known === undefined) place.below.set(segment, next)
    place = next
  }
  return place
}

function take(place: Place, route: Route): void {
  const taken = (place.taken ??= { methods: new Map(), others: undefined })
  if (route.match.methods === undefined) {
    if (taken.others !== undefined) clash(taken.others, route)
    taken.others = route
    return
  }
  for (const method of route.match.methods) {
    const known = taken.methods.get(method)
    if (known !== undefined && known !== route) clash(known, route)
    taken.methods.set(method, route)
  }
}

function clash(first: Route, second: Route): never {
  throw new TypeError(`routes ${first.name} and ${second.name} take the same requests`)
}
