import type { ProxyConfig, Route, WebSocketConfig, WeightedUpstream } from '../config/config.ts'
import type { LimitsConfig } from '../config/limits.ts'
import { type ClientIdentity, identityOf } from '../exchange/identity.ts'
import type { IssuedToken } from '../exchange/issued.ts'
import type { Current } from '../exchange/reread.ts'
import type { Target } from '../route/target.ts'
import { type Balance, createBalance } from './balance.ts'
import type { Pools, PoolOptions, Upstream } from './pools.ts'
import { RetryBudget } from './retry.ts'
import { type Rules, rulesOf } from './rules.ts'

/** What is the same for every request of a route. */
export interface Lane {
  readonly balance: Balance<Place>
  readonly timeoutMs: number
  readonly retries: number
  readonly budget: RetryBudget
  /** Whether there is another upstream to try when one is unavailable. */
  readonly hasOthers: boolean
  readonly rules: Rules
  /** How many characters of the path are taken off. */
  readonly stripped: number
  /** The client certificate that upstreams are shown, unless the token is bound to another one. */
  readonly identity: Current<ClientIdentity> | undefined
  readonly websocket: WebSocketConfig | undefined
  readonly limits: LimitsConfig
}

/** One of a route's upstreams. */
export interface Place {
  readonly weight: number
  readonly origin: string
  /** Put before the path: the upstream's own path and the route's prefix, without a trailing slash. */
  readonly base: string
  readonly pool: PoolOptions
  /** The connections that show no client certificate. */
  readonly upstream: Upstream
}

/** Called for each upstream of a route that begins to pause. */
export type Paused = (route: Route) => void

export function createLanes(pools: Pools, paused?: Paused): (route: Route) => Lane {
  const lanes = new WeakMap<Route, Lane>()

  function placeOf({ url, weight }: WeightedUpstream, proxy: ProxyConfig): Place {
    const { prefix, connectTimeoutMs, tls, http2 } = proxy
    const socketPath = url.startsWith('unix:') ? url.slice('unix:'.length) : undefined
    const { origin, pathname } = new URL(socketPath === undefined ? url : 'http://localhost')
    const pool = { origin, socketPath, connectTimeoutMs, authorities: tls?.authorities, http2 }
    const base = pathname.replace(/\/+$/, '') + prefix
    return { weight, origin, base, pool, upstream: pools.of(pool) }
  }

  function add(route: Route): Lane {
    const { proxy } = route
    const { upstreams, timeoutMs, retries, strip, tls, websocket, limits } = proxy
    const lane: Lane = {
      balance: createBalance(
        upstreams.map((upstream) => placeOf(upstream, proxy)),
        () => paused?.(route),
      ),
      ...{ timeoutMs, retries, stripped: strip.length },
      hasOthers: upstreams.length > 1,
      budget: new RetryBudget(),
      rules: rulesOf(route),
      identity: tls?.identity && identityOf(tls.identity),
      websocket,
      limits,
    }
    lanes.set(route, lane)
    return lane
  }

  return (route) => lanes.get(route) ?? add(route)
}

/** RFC 8705, section 3: a bound token is valid only on a connection that shows the certificate it is bound to. */
export function connectionsTo(
  place: Place,
  { identity }: Lane,
  token: IssuedToken,
  pools: Pools,
): Upstream {
  const shown = token.identity ?? identity?.now()
  return shown === undefined ? place.upstream : pools.of(place.pool, shown)
}

/**
 * The path at the upstream. It is still canonical, because whole segments are removed and added: what is left begins with a
 * slash, or is empty.
 */
export function pathAt(
  { base }: Pick<Place, 'base'>,
  { stripped }: Pick<Lane, 'stripped'>,
  { path }: Target,
): string {
  const rest = stripped === 0 ? path : path.slice(stripped)
  return base === '' && rest === '' ? '/' : base + rest
}
