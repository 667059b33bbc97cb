import { asGatewayError } from '../errors.ts'
import type { Metrics } from '../metrics.ts'
import type { Exchange } from './exchange.ts'

/** Counts and times the exchanges that are sent. Stands nearest to the issuer. */
export function measured(exchange: Exchange, metrics: Metrics): Exchange {
  return async (permit, ask) => {
    const { name: issuer } = permit.subject.api.issuer
    const isRefresh = ask.refresh?.token !== undefined
    const grant = isRefresh ? 'refresh-token' : permit.route.exchange.grant
    const startedAt = performance.now()
    let outcome = 'ok'
    try {
      return await exchange(permit, ask)
    } catch (error) {
      outcome =
        ask.signal.aborted && error === ask.signal.reason ? 'dropped' : asGatewayError(error).code
      throw error
    } finally {
      const seconds = (performance.now() - startedAt) / 1_000
      metrics.counter('behalf_exchanges_total', 'Exchanges by what became of them.', {
        issuer,
        grant,
        outcome,
      }).value++
      metrics
        .histogram('behalf_exchange_seconds', 'How long exchanges take.', { issuer, grant })
        .observe(seconds)
    }
  }
}
