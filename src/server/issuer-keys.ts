import type { IssuerKeys } from '../authenticate/keys.ts'
import type { Issuer } from '../config/config.ts'
import type { Metrics } from '../metrics.ts'
import type { Lease } from './lasting.ts'

/** Shows for each issuer whose keys are used whether it gave them when last asked; with several identifiers, all of them. */
export function showIssuerKeys(
  issuers: readonly Issuer[],
  keySets: readonly (readonly [string, IssuerKeys])[],
  { metrics, lease }: { readonly metrics: Metrics; readonly lease: Lease },
): void {
  const help = 'Whether an issuer gave its keys when it was last asked, 1 or 0.'
  for (const { name, identifiers } of issuers) {
    const own = keySets.filter(([identifier]) => identifiers.includes(identifier))
    if (own.length === 0) continue
    const isUp = (): number => (own.some(([, keys]) => keys.failing()) ? 0 : 1)
    lease.own(metrics.sampled('behalf_issuer_keys_up', help, isUp, { issuer: name }, 'min'))
  }
}
