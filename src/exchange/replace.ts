import type { Permit } from '../authorize/authorize.ts'
import type { Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { Store } from '../store/memory.ts'
import type { Exchange } from './exchange.ts'
import type { IssuedToken } from './issued.ts'
import { exchangeKey } from './key.ts'
import { type Purges, tagsOf } from './purge.ts'
import { remember } from './refusals.ts'

/** The exchange that replaces a token which an upstream refused. */
export interface Replaced {
  readonly refused: string
  readonly answer: Promise<IssuedToken>
  /** Purges after this generation concern it. */
  readonly generation: number
}

const NOT_AGAIN_FOR_MS = 10_000
/** Share of an issuer's budget for each route: an upstream that refuses everything must not spend all of it. */
const SHARE = 0.01
const WEIGHT_BYTES = 2_048

export interface ReplaceOptions {
  /** Where issued tokens are kept. With `refused`, only that token of the key has to go. */
  readonly store: { delete(key: string, refused?: string): void }
  readonly replaced: Store<Replaced>
  /** Where it is remembered which subject tokens need not be exchanged. */
  readonly refusals: Store<GatewayError>
  readonly purges: Pick<Purges, 'generation' | 'reaches'>
  /** Exchanges per second; undefined where there is no budget. */
  readonly rateOf: (permit: Permit) => number | undefined
}

/**
 * Exchanges once more where the upstream refused a token: drops that very token, and then replaces none of its key for
 * 10 s. All requests that were refused with the same token share the answer. Where no exchange may be made the token stays
 * in the cache, because without it the next request would make one.
 *
 * @throws {GatewayError} `upstream_rejected_token`
 */
export function replacing(exchange: Exchange, options: ReplaceOptions): Exchange {
  const { store, replaced, refusals, purges, rateOf } = options
  const nextAt = new WeakMap<Route, number>()
  const nextForgottenAt = new WeakMap<Route, number>()

  /** Whether the route's share allows one more now. If so, it is counted. */
  function mayNow(next: WeakMap<Route, number>, permit: Permit, now: number): boolean {
    const rate = rateOf(permit)
    if (rate === undefined) return true
    if (now < (next.get(permit.route) ?? 0)) return false
    next.set(permit.route, now + 1_000 / (rate * SHARE))
    return true
  }

  /** Drops the kept token, and refuses the subject token: no exchange of it brings a token that the upstream accepts. */
  function forget(permit: Permit, key: string, refusal: GatewayError): void {
    remember(refusals, permit, refusal)
    if (mayNow(nextForgottenAt, permit, Date.now())) store.delete(key)
  }

  function find(permit: Permit, key: string): Replaced | undefined {
    const known = replaced.get(key)
    if (known === undefined || known.generation === purges.generation) return known
    return purges.reaches(tagsOf(permit), known.generation) ? undefined : known
  }

  function again(permit: Permit, key: string, refused: string): Promise<IssuedToken> {
    const now = Date.now()
    if (!mayNow(nextAt, permit, now)) throw rejected()
    store.delete(key, refused)
    const deadline = now + permit.route.exchange.timeoutMs
    // All requests whose token was refused share the exchange: it goes on when one of them leaves.
    const { signal } = new AbortController()
    const ask = { signal, deadline, background: true, outcome: undefined }
    const { generation } = purges
    const answer = (async () => exchange(permit, ask))()
    answer.catch(() => undefined)
    replaced.set(key, { refused, answer, generation }, NOT_AGAIN_FOR_MS, WEIGHT_BYTES)
    return answer
  }

  return (permit, ask) => {
    if (ask.instead === undefined) return exchange(permit, ask)
    ask.signal.throwIfAborted()
    const refused = ask.instead.value
    const key = exchangeKey(permit)
    ask.asksForMore = (refusal) => forget(permit, key, refusal)
    const before = find(permit, key)
    if (before !== undefined && before.refused !== refused) throw rejected()
    ask.outcome = before === undefined ? 'miss' : 'joined'
    return before?.answer ?? again(permit, key, refused)
  }
}

function rejected(): GatewayError {
  return new GatewayError('upstream_rejected_token', 'the upstream refused the issued token')
}
