import type { Issuer } from '../config/config.ts'
import type { Cell, Metrics } from '../metrics.ts'
import type { Exchange } from './exchange.ts'

/** The time that requests did not have to wait for an issuer, because another request already had. */
export interface Savings {
  /** Notes how long exchanges take that succeed. Stands nearest to the issuer. */
  timed(exchange: Exchange): Exchange
  /** Counts one request that needed no exchange of its own with this issuer. */
  save(issuer: Issuer): void
}

/** Weight of the last exchange in the moving mean: about the last twenty count. */
const WEIGHT = 0.1

/** The moving mean of what exchanges with one issuer took. */
export interface Mean {
  /** 0 until there was one. */
  seconds: number
}

interface Saving {
  readonly mean: Mean
  readonly saved: Cell
}

/**
 * One look-up and one addition a request: it is on the cached path.
 *
 * @param means the means that are known already, by the names of issuers; others are added. Default: none
 */
export function createSavings(
  issuers: readonly Issuer[],
  metrics: Metrics,
  means: Map<string, Mean> = new Map(),
): Savings {
  const help = 'What exchanges took lately, for each request that needed none of its own.'
  const savings = new Map<Issuer, Saving>(
    issuers.map((issuer) => {
      const labels = { issuer: issuer.name }
      const saved = metrics.counter('behalf_exchange_seconds_saved_total', help, labels)
      const mean = means.get(issuer.name) ?? { seconds: 0 }
      means.set(issuer.name, mean)
      return [issuer, { mean, saved }]
    }),
  )
  return {
    timed: (exchange) => async (permit, ask) => {
      const startedAt = performance.now()
      const token = await exchange(permit, ask)
      const seconds = (performance.now() - startedAt) / 1_000
      const saving = savings.get(permit.subject.api.issuer)
      if (saving === undefined) return token
      const { mean } = saving
      mean.seconds = mean.seconds === 0 ? seconds : mean.seconds + WEIGHT * (seconds - mean.seconds)
      return token
    },
    save(issuer) {
      const saving = savings.get(issuer)
      if (saving !== undefined) saving.saved.value += saving.mean.seconds
    },
  }
}
