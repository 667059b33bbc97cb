import type { Config } from '../config/config.ts'
import type { Everywhere } from '../exchange/everywhere.ts'
import type { Exchange } from '../exchange/exchange.ts'
import { createFamilies, type Families, type Family } from '../exchange/families.ts'
import type { Purges } from '../exchange/purge.ts'
import { bringing, redeeming } from '../exchange/redeem.ts'
import { refreshing } from '../exchange/refresh.ts'
import { sharingFamilies } from '../exchange/shared-families.ts'
import { type SharingSuccessions, sharingSuccessions } from '../exchange/shared-succession.ts'
import { Successions } from '../exchange/succession.ts'
import type { Metrics } from '../metrics.ts'
import type { Seals } from '../store/seal.ts'
import type { SharedStore } from '../store/shared.ts'
import type { SharedTakingStore } from '../store/shared-taking.ts'
import { createMemoryTakingStore } from '../store/taking.ts'
import type { Lease } from './lasting.ts'

/** What replicas need to share refresh tokens. */
export interface SharedRefreshes {
  readonly store: SharedStore
  readonly families: SharedTakingStore
  readonly seals: Seals
  readonly shareContext: boolean
}

export interface RefreshesOptions {
  readonly purges: Purges
  readonly lease: Lease
  readonly metrics: Metrics
  /** Undefined: each process has its own refresh tokens. */
  readonly shared: (SharedRefreshes & { readonly everywhere: Everywhere }) | undefined
}

/** The two layers around an exchange that deal with refresh tokens. */
export interface Refreshes {
  /** Stands inside the join and the layer that remembers refusals. */
  readonly inner: Exchange
  /** Stands outside the cache, because a caller's own refresh token is a part of the cache's key. */
  outer(exchange: Exchange): Exchange
}

/** Refresh tokens are short, and forgetting one costs an exchange. */
const FAMILY_BYTES = 64 * 1024 * 1024
const SUCCESSIONS = { maxEntries: 50_000, maxBytes: 64 * 1024 * 1024 }

/** Adds the layers that routes ask for, and no others. */
export function refreshes(
  exchange: Exchange,
  config: Config,
  options: RefreshesOptions,
): Refreshes {
  const { routes } = config
  let inner = exchange
  let outer: Refreshes['outer'] = (cachedExchange) => cachedExchange
  if (routes.some((route) => route.exchange.renew !== undefined)) {
    inner = refreshing(inner, familiesOf(config, options))
  }
  if (routes.some((route) => route.exchange.grant === 'refresh-token')) {
    const { lease, purges } = options
    const successions = lease.use('successions', null, () => new Successions(SUCCESSIONS, purges))
    const between = betweenReplicas(successions, config, options)
    inner = redeeming(between.leading(inner), successions)
    outer = (cachedExchange) => between.learning(bringing(cachedExchange, successions))
  }
  return { inner, outer }
}

function familiesOf({ cache }: Config, options: RefreshesOptions): Families {
  const { lease, purges, metrics, shared } = options
  const bounds = { maxEntries: cache.maxEntries, maxBytes: FAMILY_BYTES }
  const local = lease.use('families', bounds, () =>
    createFamilies(createMemoryTakingStore<Family>(bounds), purges),
  )
  if (shared === undefined) return local
  const { families: store, seals, shareContext, everywhere } = shared
  return lease.use(
    'shared families',
    cache,
    () =>
      sharingFamilies({ ...{ local, store, seals, shareContext, everywhere }, purges, metrics }),
    (one) => one.close(),
  )
}

/** The layers that ask other replicas; without a shared level they do nothing. */
function betweenReplicas(
  successions: Successions,
  { cache }: Config,
  { lease, metrics, shared }: RefreshesOptions,
): Pick<SharingSuccessions, 'learning' | 'leading'> {
  if (shared === undefined) {
    const alone = (exchange: Exchange): Exchange => exchange
    return { learning: alone, leading: alone }
  }
  const { store, seals, everywhere } = shared
  return lease.use(
    'shared successions',
    cache,
    () => sharingSuccessions({ ...{ store, seals, everywhere }, successions, metrics }),
    (one) => one.close(),
  )
}
