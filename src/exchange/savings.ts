import type { Issuer } from '../config/config.ts'
import type { Cell, Metrics } from '../metrics.ts'
import type { Exchange } from './exchange.ts'

/** The time that requests did not wait for an issuer, since another had. */
export interface Savings {
  /** Notes how long exchanges take: it stands nearest to the issuer. Those that fail say nothing about it. */
  timed(exchange: Exchange): Exchange
  /** Counts one request that needed no exchange of its own with this issuer. */
  save(issuer: Issuer): void
}

/** Of the last exchange in the mean: so about the last twenty of them make it. */
const WEIGHT = 0.1

interface Saving {
  /** Of what exchanges took lately, in seconds; 0 until there was one. */
  mean: number
  readonly saved: Cell
}

/** One look-up and one addition a request: it is on the cached path. */
export function createSavings(issuers: readonly Issuer[], metrics: Metrics): Savings {
  const help = 'What exchanges took lately, for each request that needed none of its own.'
  const savings = new Map<Issuer, Saving>(
    issuers.map((issuer) => {
      const labels = { issuer: issuer.name }
      const saved = metrics.counter('behalf_exchange_seconds_saved_total', help, labels)
      return [issuer, { mean: 0, saved }]
    }),
  )
  return {
    timed: (exchange) => async (permit, ask) => {
      const startedAt = performance.now()
      const token = await exchange(permit, ask)
      const seconds = (performance.now() - startedAt) / 1_000
      const saving = savings.get(permit.subject.api.issuer)
      if (saving === undefined) return token
      saving.mean = saving.mean === 0 ? seconds : saving.mean + WEIGHT * (seconds - saving.mean)
      return token
    },
    save(issuer) {
      const saving = savings.get(issuer)
      if (saving !== undefined) saving.saved.value += saving.mean
    },
  }
}
