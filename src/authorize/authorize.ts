import type { SubjectToken } from '../authenticate/authenticate.ts'
import type { Route } from '../config/config.ts'
import { conditionsOf } from './conditions.ts'

declare const permitted: unique symbol

/** Evidence that `authorize` let this subject use this route. Only `authorize` makes one. */
export interface Permit {
  readonly subject: SubjectToken
  readonly route: Route
  readonly [permitted]: true
}

/**
 * Decides whether the subject may use the route. Evaluated on every request, also where the issued token comes from the
 * cache. Reads only the verified token, the route and, for `maxAge`, the clock. Does NOT check signatures and expiry
 * (see `authenticate`).
 *
 * @throws {GatewayError} for the first condition that does not hold: `not_permitted`; `insufficient_scope`, with the scopes
 *   that were needed (RFC 6750, section 3.1); `insufficient_user_authentication`, with what the next authentication must
 *   fulfil (RFC 9470, section 3)
 */
export function authorize(subject: SubjectToken, route: Route): Permit {
  for (const condition of conditionsOf(route)) {
    if (!condition.holds(subject)) throw condition.refusal()
  }
  return { subject, route } as Permit
}

/** How one condition of a route judges a token. */
export interface Verdict {
  /** The option of `authorize` that the condition comes from, for example `scopes` or `claims[0]`. */
  readonly option: string
  /** The value of that option. */
  readonly needs: unknown
  /** The part of the token that decided; undefined where the token lacks it. For operators alone: it may be personal. */
  readonly found: unknown
  readonly holds: boolean
}

/** Each condition that `authorize` checks, in its order. The first that does not hold is the one that it refuses by. */
export function judge(subject: SubjectToken, route: Route): readonly Verdict[] {
  return conditionsOf(route).map((condition) => ({
    option: condition.option,
    needs: condition.needs,
    found: condition.found(subject),
    holds: condition.holds(subject),
  }))
}
