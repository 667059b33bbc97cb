import type { Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { Target } from './target.ts'

/**
 * @param host the Host header; undefined where there is none
 * @throws {GatewayError} `route_not_found`; `method_not_allowed`, with the methods that are; `invalid_request_target` for a
 *   path parameter where the route takes none, and for a path that some servers would read as another route's
 */
export type Match = (method: string, host: string | undefined, target: Target) => Route

/** A node in the tree of whole segments. A look-up costs the depth of the path, however many routes there are. */
interface Place {
  readonly below: Map<string, Place>
  /** The names in `below` as lenient servers read them (see `resemblance`). */
  readonly resembled: Set<string>
  /** The place below a parameter (`{id}`), which any segment leads to. */
  parameter: Place | undefined
  taken: Taken | undefined
}

/** The routes of exactly one path, by method. */
interface Taken {
  readonly methods: Map<string, Route>
  /** The route that lists no methods. */
  others: Route | undefined
}

/**
 * Finds the route with the longest path that holds the target's in whole segments, compared case-sensitively. From the
 * left, a name comes before a parameter (`{id}`), which is any one segment. The most specific path decides alone: where its
 * routes do not take the method the answer is 405, never the route of a shorter path, which may be guarded less. On one
 * path, a route that lists the method comes before a route that lists none. HEAD is taken only by a route that lists it, or
 * lists no methods: RFC 9110, section 9.3.2, ties HEAD to the meaning of GET, not to its permission.
 *
 * Routes of the exact host come first, then those of its wildcard (`*.example`: one label), then those without hosts.
 *
 * @throws {TypeError} two routes take the same requests
 */
export function createMatch(routes: readonly Route[]): Match {
  const anywhere = newPlace()
  const hosts = new Map<string, Place>()
  for (const route of routes) {
    if (route.match.hosts.length === 0) take(placeOf(anywhere, route.match.path), route)
    for (const host of route.match.hosts) {
      const root = hosts.get(host) ?? newPlace()
      hosts.set(host, root)
      take(placeOf(root, route.match.path), route)
    }
  }
  return (method, host, { path }) => {
    // Parameters are dropped, as servers that know them do, or else `/orders;x` would slip past the route of `/orders`.
    const parameters = path.includes(';')
    const plain = parameters ? path.replace(/;[^/]*/g, '') : path
    const walk: Walk = { path: plain, isAmbiguous: false }
    const taken =
      (hosts.size === 0 ? undefined : amongHosts(hosts, host, walk)) ??
      mostSpecific(anywhere, walk, 1)
    if (taken === undefined) throw new GatewayError('route_not_found', 'no route has this path')
    if (walk.isAmbiguous) {
      const detail = 'the request target is what some servers take for another one'
      throw new GatewayError('invalid_request_target', detail)
    }
    const route = taken.methods.get(method) ?? otherwise(taken, method)
    if (parameters && !route.match.pathParameters) {
      throw new GatewayError('invalid_request_target', 'the route takes no path parameters')
    }
    return route
  }
}

function newPlace(): Place {
  return { below: new Map(), resembled: new Set(), parameter: undefined, taken: undefined }
}

function amongHosts(
  hosts: ReadonlyMap<string, Place>,
  host: string | undefined,
  walk: Walk,
): Taken | undefined {
  if (host === undefined) return undefined
  const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
  for (const root of [hosts.get(name), hosts.get(name.replace(/^[^.]+/, '*'))]) {
    const taken = root && mostSpecific(root, walk, 1)
    if (taken !== undefined) return taken
  }
  return undefined
}

/** The state of one look-up. */
interface Walk {
  readonly path: string
  /** Whether some servers would read a segment of the path as another name, which a route has. */
  isAmbiguous: boolean
}

/** Tries the parameter only after nothing below the name took the path. Each place is visited at most once. */
function mostSpecific(place: Place, walk: Walk, start: number): Taken | undefined {
  const { path } = walk
  const { below, resembled, parameter, taken } = place
  if ((below.size === 0 && parameter === undefined) || start >= path.length) return taken
  const slash = path.indexOf('/', start)
  const segment = slash < 0 ? path.slice(start) : path.slice(start, slash)
  const rest = slash < 0 ? path.length : slash + 1
  const named = below.get(segment)
  if (named === undefined && resembled.has(resemblance(segment))) walk.isAmbiguous = true
  return (
    (named && mostSpecific(named, walk, rest)) ??
    (parameter && mostSpecific(parameter, walk, rest)) ??
    taken
  )
}

/**
 * A segment as the most lenient servers read it: they ignore case, end it at an encoded `;`, `?` or `#`, and drop dots and
 * spaces at its end.
 */
function resemblance(segment: string): string {
  const lower = segment.toLowerCase()
  const cut = lower.search(/%(?:25)*(?:3b|3f|23)/)
  return trimmed(cut < 0 ? lower : lower.slice(0, cut))
}

/** Trims dots and encoded spaces at the end. A loop, because a regular expression would be quadratic. */
function trimmed(name: string): string {
  let end = name.length
  for (;;) {
    let start = end
    if (name.endsWith('.', end)) start = end - 1
    else if (name.endsWith('20', end)) {
      start = end - 2
      while (name.endsWith('25', start)) start -= 2
      if (name.endsWith('%', start)) start -= 1
      else return name.slice(0, end)
    }
    if (start === end) return name.slice(0, end)
    end = start
  }
}

/** Never proxied: CONNECT asks for a tunnel, and TRACE for the headers that the gateway was sent. */
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
    // Nothing stands before the first slash, and nothing after the last: `/orders/` is `/orders`.
    if (segment === '') continue
    // Servers that trim names read one of dots and spaces alone as empty, and the next segment in its place.
    place.resembled.add('')
    if (segment.startsWith('{')) {
      place = place.parameter ??= newPlace()
      continue
    }
    const next = place.below.get(segment) ?? newPlace()
    place.below.set(segment, next)
    place.resembled.add(resemblance(segment))
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
