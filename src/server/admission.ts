import type { Route } from '../config/config.ts'
import type { ServerLimits } from '../config/limits.ts'
import { GatewayError } from '../errors.ts'
import type { Admission } from '../gateway.ts'
import type { Metrics } from '../metrics.ts'
import type { LoopDelay } from './loop-delay.ts'
import type { Shed } from './shed.ts'

export interface AdmissionOptions {
  readonly limits: Pick<ServerLimits, 'inFlight'>
  readonly loopDelay: Pick<LoopDelay, 'isTooLate'>
  readonly metrics: Metrics
  readonly shed: Shed
}

/** When those who were turned away may come again, in seconds. */
const RETRY_AFTER_S = 1

/** Counts requests in and out, and turns away at once what would only wait: nothing has been spent on it yet. */
export function createAdmission(options: AdmissionOptions): Admission {
  const { limits, loopDelay, metrics, shed } = options
  const byRoute = new Map<Route, number>()
  let inFlight = 0
  metrics.sampled(
    'behalf_requests_in_flight',
    'Requests that are under way, at all doors.',
    () => inFlight,
  )

  function refuse(reason: Parameters<Shed>[0], detail: string): never {
    shed(reason)
    throw new GatewayError('overloaded', detail, { retryAfter: RETRY_AFTER_S })
  }

  return {
    enter(route) {
      if (loopDelay.isTooLate) refuse('loop_delay', 'the gateway is late with what it has')
      if (inFlight >= limits.inFlight) refuse('in_flight', 'too many requests are under way')
      const most = route.proxy.limits.inFlight
      if (most !== undefined) {
        const own = byRoute.get(route) ?? 0
        if (own >= most) {
          refuse('route_in_flight', 'too many requests of this route are under way')
        }
        byRoute.set(route, own + 1)
      }
      inFlight++
    },
    leave(route) {
      inFlight--
      if (route.proxy.limits.inFlight === undefined) return
      byRoute.set(route, byRoute.get(route)! - 1)
    },
  }
}
