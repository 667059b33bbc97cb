import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Ask, Exchange } from './exchange.ts'
import type { Families, Place } from './families.ts'
import type { IssuedToken } from './issued.ts'
import { tooLate } from './patience.ts'

/**
 * On routes with `renew`, renews issued tokens with the refresh token that an earlier exchange returned: a caller that comes
 * back after the issued token's end costs no exchange of its subject token. Only one request has a family at a time, and its
 * rotated token is stored before the access token is used. Every uncertain outcome costs one new exchange: a refresh that
 * was not answered is never sent twice.
 *
 * Stands inside the join, so that each key has one taker; inside `refusing`, because an issuer that refuses a refresh token
 * has not refused the subject; and outside the budget and the breaker's `judged`, because the refresh and the exchange that
 * may replace it go through both.
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

/** The token that a refresh gave; undefined where an exchange has to replace the refresh. */
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
    // Where the issuer does not rotate refresh tokens, the same one is good again.
    await (stored ?? place.put(refreshToken))
    return issued
  } catch (error) {
    if (!patience.hasBegun || isThrottled(error)) {
      // The issuer has not used the refresh token: it was not sent, or the request was throttled.
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

/** Once sent, a refresh has half of the time that is left: the other half is for an exchange. */
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

/** 4xx: the issuer has decided on the subject. */
function isDecision(error: unknown): error is GatewayError {
  return error instanceof GatewayError && error.status < 500
}

function isThrottled(error: unknown): boolean {
  return error instanceof GatewayError && error.throttled
}
