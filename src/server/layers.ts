import type { Permit } from '../authorize/authorize.ts'
import type { Config } from '../config/config.ts'
import type { GatewayError } from '../errors.ts'
import { createBreakers } from '../exchange/breaker.ts'
import type { Bucket } from '../exchange/bucket.ts'
import { budgeted } from '../exchange/budget.ts'
import { cached, type Kept, kept } from '../exchange/cache.ts'
import { type Everywhere, purgingEverywhere } from '../exchange/everywhere.ts'
import type { Exchange } from '../exchange/exchange.ts'
import { joined } from '../exchange/join.ts'
import { measured } from '../exchange/measure.ts'
import { createPurges, type Purge, type Purges } from '../exchange/purge.ts'
import { refusing, unrefused } from '../exchange/refusals.ts'
import { type Replaced, replacing } from '../exchange/replace.ts'
import { type Sharing, sharing } from '../exchange/shared.ts'
import { unexchanged } from '../exchange/unexchanged.ts'
import type { Metrics } from '../metrics.ts'
import { createMemoryStore, type Store } from '../store/memory.ts'
import type { SharedStore } from '../store/shared.ts'
import { bucketsOf, rateOf, type SharedBudgets } from './buckets.ts'
import { createLasting, type Lease } from './lasting.ts'
import type { Primary } from './primary.ts'
import { refreshes, type SharedRefreshes } from './refreshes.ts'

export interface LayersOptions {
  /** The most memory for kept tokens, in bytes. */
  readonly maxBytes: number
  readonly metrics: Metrics
  /** The primary process, where this one is one of its workers. Default: it is no worker. */
  readonly primary?: Primary | undefined
  /** The level that replicas share. Default: none. */
  readonly shared?: SharedLevel | undefined
  /** Parts that exist already, and stay as long as others use them. Default: none; `close` ends those that are made. */
  readonly lease?: Lease
}

/** What replicas need to share issued tokens, budgets and refresh tokens. */
export interface SharedLevel extends SharedBudgets, SharedRefreshes {
  readonly store: SharedStore
}

export interface Layers {
  readonly exchange: Exchange
  /**
   * Forgets issued tokens, also those that are being exchanged.
   *
   * @throws {TypeError} where nothing is named
   */
  purge(what: Purge): void
  /** Ends what the layers made, where no lease was given. */
  close(): void
}

/** Refusals and replaced tokens are kept for seconds only: these bounds are for floods. */
const REFUSALS = { maxEntries: 10_000, maxBytes: 16 * 1024 * 1024 }
const REPLACED = { maxEntries: 10_000, maxBytes: 32 * 1024 * 1024 }

/** Puts the layers around an exchange. Their order matters: the comments say why. */
export function layered(exchange: Exchange, config: Config, options: LayersOptions): Layers {
  const { maxBytes, metrics, primary, shared: level } = options
  const own = options.lease === undefined ? createLasting().lease() : undefined
  const lease = (options.lease ?? own)!
  const { maxEntries } = config.cache
  const issued = lease.use('issued tokens', [maxEntries, maxBytes], () =>
    createMemoryStore<Kept>({ maxEntries, maxBytes }),
  )
  const replaced = lease.use('replaced tokens', null, () => createMemoryStore<Replaced>(REPLACED))
  const purges = lease.use('purges', null, () => createPurges())
  // Not leased: a reload forgets refusals and breakers, so that whoever mended the configuration sees the effect.
  const refusals = createMemoryStore<GatewayError>(REFUSALS)
  const breakers = createBreakers()
  const buckets = bucketsOf(config, { metrics, lease, primary, shared: level })
  const bucketOf = ({ subject }: Permit): Bucket => buckets.get(subject.api.issuer)!
  const ownRateOf = ({ subject }: Permit): number | undefined => rateOf(subject.api.issuer, config)

  metrics.sampled('behalf_cache_entries', 'Issued tokens that are kept.', () => issued.size)
  metrics.sampled('behalf_cache_bytes', 'What kept tokens weigh.', () => issued.bytes)
  for (const issuer of config.issuers) {
    const help = 'Targets that are not asked for, since what came last was not acceptable.'
    const open = (): number => breakers.open(issuer)
    const labels = { issuer: issuer.name }
    lease.own(metrics.sampled('behalf_issuer_breakers_open', help, open, labels, 'max'))
  }

  // Only exchanges that are really sent are paced and judged. The breaker refuses before the wait for a turn (`guarded`),
  // and learns from the outcomes behind it (`judged`).
  const paced = budgeted(breakers.judged(measured(exchange, metrics)), bucketOf)
  const among = lease.use(
    'among replicas',
    [config.cache, level !== undefined],
    () => amongReplicas(level, { memory: issued, purges, metrics }),
    (one) => one.close(),
  )
  // One refresh for each key. Its requests are paced one by one: the refresh, and the exchange that may replace it.
  const { everywhere } = among
  const refreshed = refreshes(paced, config, {
    purges,
    lease,
    metrics,
    shared: level && everywhere && { ...level, everywhere },
  })
  // Inside the join, so that a token that was paid for is kept even when its callers have left.
  const remembered = kept(refusing(refreshed.inner, refusals), among.memory, purges)
  const guarded = breakers.guarded(remembered)
  // The shared level stands between the join and the exchange: each replica looks a key up once, and one of all exchanges.
  const one = joined(among.shared(guarded), purges)
  // Outside the join: refusals are remembered by token, and callers of one key may hold different tokens.
  const answered = unrefused(one, refusals)
  const again = replacing(answered, {
    store: among.memory,
    replaced,
    refusals,
    purges,
    rateOf: ownRateOf,
  })
  const answers = refreshed.outer(cached(again, issued, purges))
  return {
    exchange: unexchanged(answers),
    purge(what) {
      among.tell(purges.purge(what))
    },
    close: () => void own?.release(),
  }
}

interface Among {
  shared(exchange: Exchange): Exchange
  /** Where tokens are kept. What is deleted here is deleted for all replicas. */
  readonly memory: Pick<Store<Kept>, 'set'> & Pick<Sharing, 'delete'>
  /** Tells the other replicas what was purged. */
  tell(tags: readonly string[]): void
  /** The purges of all replicas. */
  readonly everywhere?: Everywhere
  close(): void
}

/** The shared level; without one its parts do nothing. */
function amongReplicas(
  level: SharedLevel | undefined,
  of: { readonly memory: Store<Kept>; readonly purges: Purges; readonly metrics: Metrics },
): Among {
  const { memory, purges } = of
  if (level === undefined) {
    return { shared: (exchange) => exchange, memory, tell: () => undefined, close: () => undefined }
  }
  const everywhere = purgingEverywhere(level.store, level.seals, purges)
  const { shared, delete: forget } = sharing({ ...level, ...of, everywhere })
  const { tell, close } = everywhere
  return { shared, memory: { set: memory.set, delete: forget }, tell, everywhere, close }
}
