import type { Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'

/**
 * Whether an issued token of the route may be handed out, to be used by somebody else: not one that is bound to a key of
 * ours, since whoever has it could not prove it; and there must be one, or the caller's own could go on in its place.
 *
 * @throws {GatewayError} `exchange_misconfigured`
 */
export function assertHandable({ name, exchange }: Route): void {
  const fault =
    exchange.bound !== undefined
      ? 'its tokens are bound to a key of the gateway'
      : exchange.grant === 'none'
        ? 'it has no token'
        : exchange.grant === 'refresh-token'
          ? 'its refresh tokens could not be told back'
          : undefined
  if (fault === undefined) return
  throw new GatewayError('exchange_misconfigured', 'the route hands no token out', {
    cause: new Error(`the route ${name} cannot be used here: ${fault}`),
  })
}
