import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Ask, Exchange } from './exchange.ts'
import type { Families, Place } from './families.ts'
import type { IssuedToken } from './issued.ts'
import { tooLate } from './patience.ts'

/**
 * Renews by the refresh token that an earlier exchange gave, on the routes that say so: who comes back after the issued
 * token's end costs no exchange of the subject token. Only one has a family at a time, and what replaces its token is
 * stored before the access token is used. Whatever is not certain costs one new exchange: a refresh that nobody heard of
 * again is never sent twice.
 *
 * It stands inside the join, so that there is one taker a key; inside what remembers refusals, since an issuer that does
 * not take a refresh token has said nothing of the subject; and outside the budget and the breaker, which both the refresh
 * and the exchange in its place go through.
 */
export function refreshing(exchange: Exchange, families: Families): Exchange {
  const means = { exchange, families }
  return (permit, ask) =>
    permit.route.exchange.renew === undefined
      ? exchange(permit, ask)
      : renewOrExchange(permit, ask, means)
}

interface Means {
  readonly exchange: Exchange
  readonly families: Families
}

async function renewOrExchange(
  permit: Permit,
  ask: Ask,
  { exchange, families }: Means,
): Promise<IssuedToken> {
  const place = families.placeOf(permit)
  const refreshToken = await place.take()
  if (refreshToken !== undefined) {
    const renewed = await refreshed(permit, ask, { exchange, place, refreshToken })
    if (renewed !== undefined) return renewed
    ask.signal.throwIfAborted()
  }
  const fresh = within(ask, {
    token: undefined,
    sent: () => undefined,
    keep: (first) => place.put(first),
  })
  try {
    return await exchange(permit, fresh)
  } catch (error) {
    if (isDecision(error)) await place.refuse()
    throw error
  } finally {
    ask.outcome = fresh.outcome ?? ask.outcome
  }
}

interface Taken {
  readonly exchange: Exchange
  readonly place: Place
  readonly refreshToken: string
}

/** What a refresh gave; undefined where an exchange has to stand in. */
async function refreshed(
  permit: Permit,
  ask: Ask,
  { exchange, place, refreshToken }: Taken,
): Promise<IssuedToken | undefined> {
  const patience = new Patience(ask.deadline)
  let stored: Promise<void> | undefined
  const own = within(ask, {
    token: refreshToken,
    sent: () => patience.begin(),
    keep: (next) => {
      // An exchange has replaced this refresh, which was given up on.
      if (!patience.isOver) stored = place.put(next)
      return stored
    },
  })
  try {
    const issued = await patience.of(exchange(permit, own))
    // One that does not rotate is good again.
    await (stored ?? place.put(refreshToken))
    return issued
  } catch (error) {
    if (!patience.hasBegun || isThrottled(error)) {
      // Nobody looked at it.
      await place.put(refreshToken)
      throw error
    }
    // A family whose tokens fail the check is not continued.
    if (stored !== undefined) await place.take()
    if (error instanceof GatewayError) return undefined
    throw error
  } finally {
    patience.end()
    ask.outcome = own.outcome ?? ask.outcome
  }
}

function within(ask: Ask, refresh: NonNullable<Ask['refresh']>): Ask {
  const { signal, deadline, background } = ask
  return { signal, deadline, background, outcome: undefined, refresh }
}

/** From when a refresh is sent it has half of the time that is left: the other half is for an exchange. */
class Patience {
  isOver = false
  hasBegun = false
  readonly #deadline: number
  #timer: NodeJS.Timeout | undefined
  #lose: (error: Error) => void = () => undefined

  constructor(deadline: number) {
    this.#deadline = deadline
  }

  begin(): void {
    this.hasBegun = true
    const lose = (): void => this.#lose(tooLate())
    this.#timer = setTimeout(lose, Math.max(0, (this.#deadline - Date.now()) / 2))
  }

  async of<Value>(promise: Value | Promise<Value>): Promise<Value> {
    const lost = new Promise<never>((_, reject) => (this.#lose = reject))
    return Promise.race([promise, lost])
  }

  end(): void {
    this.isOver = true
    clearTimeout(this.#timer)
  }
}

/** 4xx: on the subject. */
function isDecision(error: unknown): error is GatewayError {
  return error instanceof GatewayError && error.status < 500
}

function isThrottled(error: unknown): boolean {
  return error instanceof GatewayError && error.throttled
}
