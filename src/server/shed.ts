import type { Metrics } from '../metrics.ts'

/** Why a connection or a request was turned away. */
const REASONS = [
  ...(['connections', 'pipelined', 'loop_delay', 'in_flight', 'route_in_flight'] as const),
  ...(['rate_subject', 'rate_client', 'rate_address'] as const),
]

/** Counts connections and requests that are turned away by a limit. */
export type Shed = (reason: (typeof REASONS)[number]) => void

export function createShed(metrics: Metrics): Shed {
  const help = 'What was turned away because it was too much, by the limit that it met.'
  const cells = new Map(
    REASONS.map((reason) => [reason, metrics.counter('behalf_shed_total', help, { reason })]),
  )
  return (reason) => {
    cells.get(reason)!.value++
  }
}
