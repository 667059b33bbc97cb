import type { SubjectToken } from '../authenticate/authenticate.ts'
import type { Route } from '../config/config.ts'
import { conditionsOf } from './conditions.ts'

declare const permitted: unique symbol

/** Evidence that `authorize` let this subject use this route. Nothing else makes one. */
export interface Permit {
  readonly subject: SubjectToken
  readonly route: Route
  readonly [permitted]: true
}

/**
 * Whether the subject may use the route. Evaluated on every request, also where the answer comes from the cache. Looks at
 * nothing but the verified token, the route and, for `maxAge`, the clock. Does NOT look at signatures and expiry (see
 * `authenticate`).
 *
 * @throws {GatewayError} of the first condition that does not hold: `not_permitted`; `insufficient_scope`, with the scopes
 *   that were needed (RFC 6750, section 3.1); `insufficient_user_authentication`, with what the next authentication must
 *   be like (RFC 9470, section 3)
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
  /** What that option says. */
  readonly needs: unknown
  /** What of the token decided: for an operator alone, since it may be personal. Undefined where it says nothing. */
  readonly found: unknown
  readonly holds: boolean
}

/** What `authorize` decides by, condition for condition and in its order: it refuses by the first that does not hold. */
export function judge(subject: SubjectToken, route: Route): readonly Verdict[] {
  return conditionsOf(route).map((condition) => ({
    option: condition.option,
    needs: condition.needs,
    found: condition.found(subject),
    holds: condition.holds(subject),
  }))
}
