import type { IncomingMessage, ServerResponse } from 'node:http'
import type { GatewayError } from '../errors.ts'
import type { Succession } from '../exchange/exchange.ts'
import type { Target } from '../route/target.ts'
import type { Received } from './received.ts'

/** One request on its way through, and where its answer goes. */
export interface Passage {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** What was matched: exactly these bytes are forwarded. */
  readonly target: Target
  /** What the caller sent, where it was read before. */
  readonly head?: Received | undefined
  /** Whose claims the route's headers speak of, and how long they hold, in epoch milliseconds. */
  readonly subject?:
    { readonly claims: Readonly<Record<string, unknown>>; readonly expiresAt?: number } | undefined
  /** Told to the upstream and to the caller as `X-Request-Id`. */
  readonly id: string
  /** When it came, by `performance.now()`. Default: when it is proxied. */
  readonly startedAt?: number
  /** What the caller is told of its refresh token, beside the answer. */
  readonly succession?: Succession | undefined
  /** What the upstream asks the user for with `token_rejected`: for who cannot give it another token. */
  challenge?: GatewayError | undefined
}
