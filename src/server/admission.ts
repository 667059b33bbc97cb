import type { ServerLimits } from '../config/limits.ts'
import { GatewayError } from '../errors.ts'
import type { Admission } from '../gateway.ts'
import type { Metrics } from '../metrics.ts'
import type { LoopDelay } from './loop-delay.ts'
import type { Shed } from './shed.ts'

export interface AdmissionOptions {
  readonly limits: Pick<ServerLimits, 'inFlight'>
  readonly loopDelay: Pick<LoopDelay, 'isTooLate'>
  readonly counts: Counts
  readonly shed: Shed
}

/** The requests in flight, also those that a former configuration let in. */
export interface Counts {
  inFlight: number
  /** Requests in flight of the routes that limit them, by the route's name. */
  readonly byRoute: Map<string, number>
}

export function createCounts(metrics: Metrics): Counts {
  const counts: Counts = { inFlight: 0, byRoute: new Map() }
  const help = 'Requests that are under way, at all doors.'
  metrics.sampled('behalf_requests_in_flight', help, () => counts.inFlight)
  return counts
}

export interface CountedAdmission extends Admission {
  /** Resolves when all requests that this one let in have ended. No more may be given to it from now on. */
  emptied(): Promise<void>
}

/** The Retry-After of requests that are turned away, in seconds. */
const RETRY_AFTER_S = 1

/** Counts requests in flight, and turns away at once those that would only wait: nothing has been spent on them yet. */
export function createAdmission(options: AdmissionOptions): CountedAdmission {
  const { limits, loopDelay, counts, shed } = options
  const { byRoute } = counts
  let own = 0
  let emptied = (): void => undefined

  function refuse(reason: Parameters<Shed>[0], detail: string): never {
    shed(reason)
    throw new GatewayError('overloaded', detail, { retryAfter: RETRY_AFTER_S })
  }

  return {
    enter(route) {
      if (loopDelay.isTooLate) refuse('loop_delay', 'the gateway is late with what it has')
      if (counts.inFlight >= limits.inFlight) refuse('in_flight', 'too many requests are under way')
      const most = route.proxy.limits.inFlight
      if (most !== undefined) {
        const ofRoute = byRoute.get(route.name) ?? 0
        if (ofRoute >= most) {
          refuse('route_in_flight', 'too many requests of this route are under way')
        }
        byRoute.set(route.name, ofRoute + 1)
      }
      counts.inFlight++
      own++
    },
    leave(route) {
      counts.inFlight--
      if (--own === 0) emptied()
      if (route.proxy.limits.inFlight === undefined) return
      const left = byRoute.get(route.name)! - 1
      if (left > 0) byRoute.set(route.name, left)
      else byRoute.delete(route.name)
    },
    emptied: () =>
      new Promise((resolve) => {
        if (own === 0) resolve()
        else emptied = resolve
      }),
  }
}
