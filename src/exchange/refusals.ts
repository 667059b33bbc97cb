import type { Permit } from '../authorize/authorize.ts'
import { type ErrorCode, GatewayError } from '../errors.ts'
import type { Store } from '../store/memory.ts'
import type { Exchange } from './exchange.ts'
import { refusalKey } from './key.ts'
import { Unfit } from './unfit.ts'

const REMEMBERED_FOR_MS = 5_000

/** The issuer's decisions on a token. Outages, throttling and the gateway's own faults are not among them. */
const DECISIONS: ReadonlySet<ErrorCode> = new Set([
  'invalid_token',
  'exchange_denied',
  'insufficient_user_authentication',
  // The caller's refresh token is another user's.
  'not_permitted',
])

/** An unusable answer is remembered for its token as well: asked again, the issuer would give the same. */
function isDecision(error: unknown, { route }: Permit): error is GatewayError {
  if (error instanceof Unfit) return route.exchange.grant !== 'client-credentials'
  return error instanceof GatewayError && DECISIONS.has(error.code)
}

/**
 * Refuses at once a token that the issuer has just refused. Stands outside the join, or else a refused token could share the
 * exchange of another one with the same context.
 */
export function unrefused(exchange: Exchange, refusals: Store<GatewayError>): Exchange {
  return (permit, ask) => {
    const refusal = refusals.get(refusalKey(permit))
    if (refusal === undefined) return exchange(permit, ask)
    ask.outcome = 'refused'
    throw refusal
  }
}

/** Remembers the issuer's refusals for 5 s. Stands inside the join, where it is known which token was sent. */
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

/** Remembers the refusal of this very token for 5 s. */
export function remember(refusals: Store<GatewayError>, permit: Permit, error: GatewayError): void {
  // Without its cause, which may hold a whole answer of the issuer's: it was logged when it happened.
  const refusal = Object.assign(new GatewayError(error.code, error.message), error)
  const weight = error.message.length + (error.stepUp?.claims?.length ?? 0)
  refusals.set(refusalKey(permit), refusal, REMEMBERED_FOR_MS, weight)
}
