import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Ask, Exchange } from './exchange.ts'
import { foreign, type IssuedToken, UnfitToken } from './issued.ts'
import type { Line, Successions } from './succession.ts'
import { Trials } from './trials.ts'

/** What a request redeems: the refresh token that its caller brought, and the line of its successors. */
export interface Redeemed {
  readonly refreshToken: string
  readonly line: Line
}

// Kept beside the permit, whose type is the same for routes that redeem nothing.
const redeemed = new WeakMap<Permit, Redeemed>()

/** @throws {TypeError} where the permit did not pass `bringing`, which attaches the refresh token */
export function redeemedBy(permit: Permit): Redeemed {
  const found = redeemed.get(permit)
  if (found === undefined) throw new TypeError('nobody brought the refresh token to redeem')
  return found
}

/**
 * Takes callers' refresh tokens on the routes that redeem them, and tells each caller what replaced its token: whatever
 * becomes of the request, on a cache hit too, and where another request of the caller had it replaced. Stands outside the
 * cache, because the refresh token is a part of its key.
 *
 * @throws {GatewayError} `invalid_request` where the refresh token is missing: the access token is good, so a challenge that
 *   asks for another one (RFC 6750, section 3.1) would mislead; `not_permitted` where the refresh token is another user's
 */
export function bringing(exchange: Exchange, successions: Successions): Exchange {
  return (permit, ask) => {
    const { exchange: config } = permit.route
    if (config.grant !== 'refresh-token') return exchange(permit, ask)
    const { refreshToken } = ask
    if (refreshToken === undefined) {
      const detail = `a refresh token is needed in the ${config.refreshTokenHeader} header`
      throw new GatewayError('invalid_request', detail)
    }
    const line = successions.hold(permit, refreshToken)
    const release = (): void => successions.release(line)
    redeemed.set(permit, { refreshToken, line })
    if (config.returnRefreshToken) {
      ask.succession = {
        header: config.refreshTokenHeader,
        get successor() {
          return line.successorOf(refreshToken, permit)
        },
      }
    }
    let answer: IssuedToken | Promise<IssuedToken>
    try {
      if (line.isForeignTo(permit)) throw foreign()
      answer = exchange(permit, ask)
    } catch (error) {
      release()
      throw error
    }
    if (answer instanceof Promise) return answer.finally(release)
    release()
    return answer
  }
}

/**
 * Redeems callers' refresh tokens; requests with the same token one after the other. Stands inside the join, and outside the
 * budget, so that a request that waits here takes no turn of the budget meanwhile. A refresh that was sent is never aborted:
 * a caller that gives up gets no answer, and the rotated token is kept for its next request.
 *
 * @throws {GatewayError} `rate_limited` for a caller that brings one useless refresh token after the other
 */
export function redeeming(exchange: Exchange, successions: Successions): Exchange {
  const trials = new Trials()
  return (permit, ask) => {
    if (permit.route.exchange.grant !== 'refresh-token') return exchange(permit, ask)
    return redeem(permit, ask)
  }

  async function redeem(permit: Permit, ask: Ask): Promise<IssuedToken> {
    const { refreshToken, line } = redeemedBy(permit)
    successions.retain(line)
    let inner: Ask | undefined
    const redeemOnce = async (token: string): Promise<IssuedToken> => {
      const own = (inner = {
        signal: ask.signal,
        deadline: ask.deadline,
        background: ask.background,
        outcome: undefined,
        refresh: {
          token,
          sent: () => undefined,
          keep: (successor: string) => successions.rotate(line, permit, successor),
        },
      })
      let pass = (): void => undefined
      try {
        pass = trials.begin(permit, line.name)
        const issued = await exchange(permit, own)
        line.learnOwner(permit, true)
        pass()
        return issued
      } catch (error) {
        if (!cameToNothing(error)) pass()
        learn(error, line, permit)
        throw error
      } finally {
        successions.release(line)
      }
    }
    try {
      return await line.turn(refreshToken, ask, redeemOnce)
    } finally {
      if (inner === undefined) successions.release(line)
      else ask.outcome = inner.outcome ?? ask.outcome
    }
  }

  function learn(error: unknown, line: Line, permit: Permit): void {
    if (!(error instanceof GatewayError)) return
    if (error.code === 'not_permitted') line.learnOwner(permit, false)
    // No caller may be told a successor that the issuer does not accept.
    else if (error.code === 'invalid_token') successions.forget(line)
  }
}

/** Whether the failure is the refresh token's own, and not the issuer's or the gateway's. */
function cameToNothing(error: unknown): boolean {
  if (!(error instanceof GatewayError)) return false
  return (
    error.code === 'invalid_token' || error.code === 'not_permitted' || error instanceof UnfitToken
  )
}
