import type { Permit } from '../authorize/authorize.ts'
import { type ErrorCode, GatewayError } from '../errors.ts'
import type { Store } from '../store/memory.ts'
import type { Exchange } from './exchange.ts'
import { refusalKey } from './key.ts'
import { Unfit } from './unfit.ts'

const REMEMBERED_FOR_MS = 5_000

/** The issuer's decisions on a token. Outages, throttling and faults of ours are none. */
const DECISIONS: ReadonlySet<ErrorCode> = new Set([
  'invalid_token',
  'exchange_denied',
  'insufficient_user_authentication',
  // Of a caller's refresh token: it is another user's.
  'not_permitted',
])

/** An unusable answer is remembered for its token as well: asked again, the issuer would give the same. */
function isDecision(error: unknown, { route }: Permit): error is GatewayError {
  if (error instanceof Unfit) return route.exchange.grant !== 'client-credentials'
  return error instanceof GatewayError && DECISIONS.has(error.code)
}

/**
 * Answers a token that was just refused. It stands outside the join: a token that was refused must not come in with
 * another one of the same context.
 */
export function unrefused(exchange: Exchange, refusals: Store<GatewayError>): Exchange {
  return (permit, ask) => {
    const refusal = refusals.get(refusalKey(permit))
    if (refusal === undefined) return exchange(permit, ask)
    ask.outcome = 'refused'
    throw refusal
  }
}

/** Remembers for 5 s what the issuer refused. It stands inside the join, where it is known which token was sent. */
export function refusing(exchange: Exchange, refusals: Store<GatewayError>): Exchange {
  return async (permit, ask) => {
    try {
      return await exchange(permit, ask)
    } catch (error) {
      if (isDecision(error, permit)) remember(refusals, permit, error)
      throw error
    }
  }
}

/** For 5 s, of this very token. */
export function remember(refusals: Store<GatewayError>, permit: Permit, error: GatewayError): void {
  // Without its cause, which may hold a whole answer of the issuer's: it was logged when it happened.
  const refusal = Object.assign(new GatewayError(error.code, error.message), error)
  const weight = error.message.length + (error.stepUp?.claims?.length ?? 0)
  refusals.set(refusalKey(permit), refusal, REMEMBERED_FOR_MS, weight)
}
