import type { ServerResponse } from 'node:http'
import type { Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { CallerGone } from '../proxy/caller.ts'

/**
 * Refuses a route whose issued token cannot be handed out for use by another service: a token that is bound to the gateway's
 * key is of no use without that key, and where there is none the caller's own could be forwarded in its place.
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

/** Why only the proxy can use an issued token of the route, even if others are given proofs; undefined where they can. */
export function unusable({ exchange: { grant, bound } }: Route): string | undefined {
  if (bound === 'mtls') return 'its tokens are bound to a certificate of the gateway'
  if (grant === 'none') return 'it has no token'
  if (grant === 'refresh-token') return 'its refresh tokens could not be told back'
  return undefined
}

/**
 * Gives an answer, and resolves when it has been sent. It waits for `close`: when the caller goes, Node neither emits
 * `finish` nor calls the callback of `end`, and the request would count as in flight for ever.
 *
 * @param answer sends it; not called where the caller is gone
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
