import type { Store } from '../store/memory.ts'
import type { Exchange } from './exchange.ts'
import type { IssuedToken } from './issued.ts'
import { exchangeKey } from './key.ts'
import { keepFor } from './lifetime.ts'

/**
 * Answers from what is kept. It stands outside the join. A hit is only ever reached with a permit: times and
 * authorization were judged for this very request.
 */
export function cached(exchange: Exchange, store: Store<IssuedToken>): Exchange {
  return (permit, ask) => {
    const key = exchangeKey(permit)
    const token = store.get(key)
    if (token === undefined) return exchange(permit, ask)
    if (token.value !== ask.instead?.value) {
      ask.outcome = 'hit'
      return token
    }
    store.delete(key)
    return exchange(permit, ask)
  }
}

/** Keeps what an exchange returns. It stands inside the join, so that an answer is kept although its callers left. */
export function kept(exchange: Exchange, store: Store<IssuedToken>): Exchange {
  return async (permit, ask) => {
    const token = await exchange(permit, ask)
    const ttlMs = keepFor(permit, token, Date.now())
    if (ttlMs > 0) store.set(exchangeKey(permit), token, ttlMs, token.value.length)
    return token
  }
}
