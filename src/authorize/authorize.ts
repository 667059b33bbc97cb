import type { SubjectToken } from '../authenticate/authenticate.ts'
import type { Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'

declare const permitted: unique symbol

/** Evidence that `authorize` let this subject use this route. Nothing else makes one. */
export interface Permit {
  readonly subject: SubjectToken
  readonly route: Route
  readonly [permitted]: true
}

/**
 * Whether the subject may use the route: scopes and permissions. Evaluated on every request, also where the answer
 * comes from the cache. Does NOT look at times or signatures (see `authenticate`).
 *
 * @throws {GatewayError} `insufficient_scope`, with the scopes that were needed (RFC 6750, section 3.1)
 */
export function authorize(subject: SubjectToken, route: Route): Permit {
  const { scopes, anyScope, permissions } = route.authorize
  for (const scope of scopes) if (!subject.scopes.has(scope)) lacks('scope', scopes)
  if (anyScope.length > 0 && !anyScope.some((scope) => subject.scopes.has(scope))) {
    lacks('scope', anyScope)
  }
  for (const permission of permissions) {
    if (!subject.permissions.has(permission)) lacks('permission', permissions)
  }
  return { subject, route } as Permit
}

function lacks(what: 'scope' | 'permission', needed: readonly string[]): never {
  throw new GatewayError('insufficient_scope', `the access token lacks a ${what} of this route`, {
    scopes: needed,
  })
}
