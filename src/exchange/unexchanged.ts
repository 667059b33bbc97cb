import { GatewayError } from '../errors.ts'
import type { Exchange } from './exchange.ts'
import { NO_CREDENTIALS } from './grants/none.ts'
import { passthrough } from './grants/passthrough.ts'

/**
 * Answers the routes that exchange nothing, and leaves the others to the exchange. Stands outside all other layers, because
 * there is nothing to keep, join or pace.
 *
 * @throws {GatewayError} `upstream_rejected_token` where the upstream refused the only token there is
 */
export function unexchanged(exchange: Exchange): Exchange {
  return (permit, ask) => {
    const { grant } = permit.route.exchange
    if (grant !== 'passthrough' && grant !== 'none') return exchange(permit, ask)
    if (ask.instead !== undefined) {
      throw new GatewayError('upstream_rejected_token', 'the upstream refused the only token')
    }
    return grant === 'none' ? NO_CREDENTIALS : passthrough(permit)
  }
}
