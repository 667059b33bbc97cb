import type { ServerResponse } from 'node:http'
import type { Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { CallerGone } from '../proxy/caller.ts'

/**
 * Whether an issued token of the route may be handed out, to be used by somebody else: not one that is bound to a key of
 * ours, since whoever has it could not prove it; and there must be one, or the caller's own could go on in its place.
 *
 * @throws {GatewayError} `exchange_misconfigured`
 */
export function assertHandable(route: Route): void {
  const fault = route.exchange.bound === 'dpop' ? BOUND_TO_KEY : unusable(route)
  if (fault === undefined) return
  throw new GatewayError('exchange_misconfigured', 'the route hands no token out', {
    cause: new Error(`the route ${route.name} cannot be used here: ${fault}`),
  })
}

const BOUND_TO_KEY = 'its tokens are bound to a key of the gateway'

/** Why nobody but the proxy can use an issued token of the route, even with proofs made for them; undefined where they can. */
export function unusable({ exchange: { grant, bound } }: Route): string | undefined {
  if (bound === 'mtls') return 'its tokens are bound to a certificate of the gateway'
  if (grant === 'none') return 'it has no token'
  if (grant === 'refresh-token') return 'its refresh tokens could not be told back'
  return undefined
}

/**
 * Ends when the answer does. Of a caller that is gone neither `finish` nor the callback of `end` tells, and what waits for it
 * would hold its place among the requests in flight for ever.
 *
 * @param answer gives it; not called where nobody is left to be answered
 * @throws {CallerGone}
 */
export function answering(response: ServerResponse, answer: () => void): Promise<'answered'> {
  if (response.closed) throw new CallerGone()
  answer()
  return new Promise((resolve, reject) => {
    response.once('close', () => {
      if (response.writableFinished) resolve('answered')
      else reject(new CallerGone())
    })
  })
}
