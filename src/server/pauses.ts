import type { Route } from '../config/config.ts'
import type { Metrics } from '../metrics.ts'
import type { ProxyControls } from '../proxy/proxy.ts'
import type { Lease } from './lasting.ts'

const PAUSES = 'behalf_upstream_pauses_total'
const PAUSES_HELP = 'Times that an upstream failed so often that it is passed over for a while.'

/** Counts upstreams that begin to pause, so that pauses between two scrapes are seen as well. */
export function countPauses(metrics: Metrics): (route: Route) => void {
  return ({ name }) => metrics.counter(PAUSES, PAUSES_HELP, { route: name }).value++
}

/** Shows how many upstreams of a route pause, for routes with several: an only upstream never pauses. */
export function showPaused(
  routes: readonly Route[],
  proxy: Pick<ProxyControls, 'paused'>,
  { metrics, lease }: { readonly metrics: Metrics; readonly lease: Lease },
): void {
  const help = 'Upstreams that are passed over now, in the process that passes over most.'
  for (const route of routes) {
    if (route.proxy.upstreams.length === 1) continue
    const labels = { route: route.name }
    // Zero from the start, so that the first pause shows as an increase.
    metrics.counter(PAUSES, PAUSES_HELP, labels)
    const paused = (): number => proxy.paused(route)
    lease.own(metrics.sampled('behalf_upstreams_paused', help, paused, labels, 'max'))
  }
}
