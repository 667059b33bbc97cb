import type { IncomingMessage, ServerResponse } from 'node:http'
import type { GatewayError } from '../errors.ts'
import type { Succession } from '../exchange/exchange.ts'
import type { Target } from '../route/target.ts'
import type { Received } from './received.ts'

/** One request on its way through the proxy, and where its answer goes. */
export interface Passage {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** What was matched: exactly these bytes are forwarded. */
  readonly target: Target
  /** The caller's head, where it has been read already. */
  readonly head?: Received | undefined
  /** Whose claims fill the route's headers, and when the subject token expires, in epoch milliseconds. */
  readonly subject?:
    { readonly claims: Readonly<Record<string, unknown>>; readonly expiresAt?: number } | undefined
  /** Sent to the upstream and to the caller as `X-Request-Id`. */
  readonly id: string
  /** When the request arrived, by `performance.now()`. Default: when it is proxied. */
  readonly startedAt?: number
  /** The refresh token that replaced the caller's, which is added to the answer. */
  readonly succession?: Succession | undefined
  /** Set with `token_rejected` to what the upstream asks of the user: for callers that cannot be given another token. */
  challenge?: GatewayError | undefined
}
