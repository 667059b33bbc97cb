import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Ask, Exchange } from './exchange.ts'
import { foreign, type IssuedToken, UnfitToken } from './issued.ts'
import type { Line, Successions } from './succession.ts'
import { Trials } from './trials.ts'

/** What a request redeems: the refresh token that its caller brought, and what that has become. */
export interface Redeemed {
  readonly refreshToken: string
  readonly line: Line
}

// Beside the permit, which is the same for those who exchange their subject token.
const redeemed = new WeakMap<Permit, Redeemed>()

/** @throws {TypeError} where the permit's route redeems refresh tokens, and none was brought to the layers */
export function redeemedBy(permit: Permit): Redeemed {
  const found = redeemed.get(permit)
  if (found === undefined) throw new TypeError('nobody brought the refresh token to redeem')
  return found
}

/**
 * Takes what callers bring for the routes that redeem their refresh tokens, and tells them what replaced it: whatever
 * becomes of their request, also from the cache, and where another of theirs had it replaced. It stands outside the cache,
 * whose key the token is a part of.
 *
 * @throws {GatewayError} `invalid_request` where a request lacks it: its access token is good, and another one would change
 *   nothing, so that a challenge would be a lie (RFC 6750, section 3.1); `not_permitted` where it is another user's
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
 * Redeems what was brought, one after the other where several hold the same. It stands inside the join, and outside the
 * budget: whoever waits for its turn here takes none there. A refresh that was sent is never aborted: who gives up on it
 * hears no more of it, and what replaced the token is kept for the caller's next request.
 *
 * @throws {GatewayError} `rate_limited` for who brings one after the other that comes to nothing
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
    // Nobody is to be told of a token that its issuer does not take.
    else if (error.code === 'invalid_token') successions.forget(line)
  }
}

/** What says something of the refresh token, and not of the issuer or of us. */
function cameToNothing(error: unknown): boolean {
  if (!(error instanceof GatewayError)) return false
  return (
    error.code === 'invalid_token' || error.code === 'not_permitted' || error instanceof UnfitToken
  )
}
