import type { Route } from '../config/config.ts'
import type { IssuedToken } from '../exchange/issued.ts'
import type { Pools, Upstream } from './pools.ts'

/** What is the same for every request of a route, and for the certificate that its token is bound to. */
export interface Lane {
  readonly upstream: Upstream
  readonly origin: string
  /** The upstream's own path, without a trailing slash. */
  readonly base: string
  readonly timeoutMs: number
  readonly keepCookies: boolean
}

export function createLanes(pools: Pools): (route: Route, token: IssuedToken) => Lane {
  const lanes = new WeakMap<Route, Lane>()

  function add(route: Route): Lane {
    const { upstream, timeoutMs, cookies } = route.proxy
    const { origin, pathname } = new URL(upstream)
    const lane: Lane = {
      upstream: pools.of(origin, timeoutMs),
      origin,
      base: pathname.replace(/\/+$/, ''),
      timeoutMs,
      keepCookies: cookies === 'keep',
    }
    lanes.set(route, lane)
    return lane
  }

  return (route, { identity }) => {
    const lane = lanes.get(route) ?? add(route)
    // RFC 8705, section 3: such a token is good where its own certificate is shown, and nowhere else.
    return identity === undefined
      ? lane
      : { ...lane, upstream: pools.of(lane.origin, lane.timeoutMs, identity) }
  }
}
