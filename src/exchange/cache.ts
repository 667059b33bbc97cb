import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Store } from '../store/memory.ts'
import type { Ask, Exchange } from './exchange.ts'
import type { IssuedToken } from './issued.ts'
import { exchangeKey } from './key.ts'
import { endsWithSubject, keepFor } from './lifetime.ts'
import { type Purges, tagsOf } from './purge.ts'
import { renew } from './renew.ts'

/** An issued token in the cache. */
export interface Kept {
  readonly token: IssuedToken
  /** The token's lifetime when it came, in milliseconds. The next one is expected to live as long. */
  readonly lifeMs: number
  /** From when on it is no longer used, in epoch milliseconds. */
  readonly endsAt: number
  /** From when on it is renewed, in epoch milliseconds. */
  renewAt: number
  /** The tags it can be purged by. */
  readonly tags: readonly string[]
  /** Purges up to this generation do not concern it. */
  generation: number
}

/**
 * Answers from the cache. Stands outside the join. A hit needs a permit, too: times and authorization were checked for this
 * very request.
 */
export function cached(exchange: Exchange, store: Store<Kept>, purges: Purges): Exchange {
  return (permit, ask) => {
    const key = exchangeKey(permit)
    const entry = store.get(key)
    if (entry === undefined) return exchange(permit, ask)
    if (entry.generation !== purges.generation) {
      if (purges.reaches(entry.tags, entry.generation)) {
        store.delete(key)
        return exchange(permit, ask)
      }
      entry.generation = purges.generation
    }
    const { token } = entry
    // After the upstream refused this very token another is asked for; after it refused an older one, this one will do.
    if (token.value === ask.instead?.value) return exchange(permit, ask)
    const now = Date.now()
    ask.outcome = now >= entry.renewAt && renew(exchange, permit, entry, now) ? 'renewed' : 'hit'
    return token
  }
}

/**
 * Keeps the token that an exchange returns. Stands inside the join, so that a token is kept even when its callers have left.
 * When the issuer asks for a stronger authentication, the token kept before is dropped: it was issued for a weaker one.
 */
export function kept(
  exchange: Exchange,
  store: Pick<Store<Kept>, 'set' | 'delete'>,
  purges: Purges,
): Exchange {
  return async (permit, ask) => {
    const { generation } = purges
    const token = await exchanged(permit, ask)
    const now = Date.now()
    const ttlMs = keepFor(permit, token, now)
    if (!(ttlMs > 0)) return token
    const tags = tagsOf(permit)
    // A purge came while the exchange was under way.
    if (generation !== purges.generation && purges.reaches(tags, generation)) return token
    const entry: Kept = {
      token,
      lifeMs: token.expiresAt - now,
      endsAt: now + ttlMs,
      renewAt: renewalOf(permit, token, now, ttlMs),
      tags,
      generation: purges.generation,
    }
    keep(store, exchangeKey(permit), entry, ttlMs)
    return token
  }

  async function exchanged(permit: Permit, ask: Ask): Promise<IssuedToken> {
    try {
      return await exchange(permit, ask)
    } catch (error) {
      const stepsUp =
        error instanceof GatewayError && error.code === 'insufficient_user_authentication'
      if (stepsUp) store.delete(exchangeKey(permit))
      throw error
    }
  }
}

/** @param ttlMs what is left of the entry's life, in milliseconds */
export function keep(
  store: Pick<Store<Kept>, 'set'>,
  key: string,
  entry: Kept,
  ttlMs: number,
): void {
  store.set(key, entry, ttlMs, entry.token.value.length + weightOf(entry.tags))
}

const RENEWED_FROM = 0.8
const JITTER = 0.1

/** After 80 to 90 % of the entry's life, at random, so that entries that came together are not renewed together. */
function renewalOf(permit: Permit, token: IssuedToken, now: number, ttlMs: number): number {
  if (endsWithSubject(permit, token, now)) return Number.POSITIVE_INFINITY
  // A renewal in the background has no caller to give a rotated refresh token to.
  if (permit.route.exchange.grant === 'refresh-token') return Number.POSITIVE_INFINITY
  return now + ttlMs * (RENEWED_FROM + JITTER * Math.random())
}

function weightOf(tags: readonly string[]): number {
  return tags.reduce((sum, { length }) => sum + length, 0)
}
