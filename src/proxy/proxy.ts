import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Route } from '../config/config.ts'
import type { IssuedToken } from '../exchange/exchange.ts'
import type { Target } from '../route/target.ts'

/** One request on its way through, and where its answer goes. */
export interface Passage {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** What was matched: exactly these bytes are forwarded. */
  readonly target: Target
  /** Told to the upstream and to the caller as `X-Request-Id`. */
  readonly id: string
}

/**
 * Streams the request to the route's upstream with the issued token, and the answer back.
 * `token_rejected`: the upstream refused our token, and nothing has been sent to the caller yet.
 *
 * @throws {GatewayError} `upstream_unavailable`, `upstream_timeout`, only while nothing has been sent to the caller
 */
export type Proxy = (
  passage: Passage,
  route: Route,
  token: IssuedToken,
) => Promise<'answered' | 'token_rejected'>
