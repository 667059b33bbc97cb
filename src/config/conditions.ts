import type { AuthorizeConfig, ClaimCondition } from './authorize.ts'

/** Whether the route accepts any token of the API that is of the right kind. */
export function asksForNothing(authorize: AuthorizeConfig): boolean {
  const { scopes, anyScope, permissions, claims, actors, maxAgeMs } = authorize
  const { clients, organizations, authorizationDetails, acrValues } = authorize
  return (
    [scopes, anyScope, permissions, claims].every((list) => list.length === 0) &&
    [clients, organizations, authorizationDetails, acrValues, maxAgeMs].every(isUndefined) &&
    actors.allow === undefined &&
    !actors.required
  )
}

/**
 * Whether a token could fulfil the inner route's conditions, and not the outer one's. Does NOT compare conditions that guard
 * the exchange instead of the upstream: `mayAct`, and those that are only assumed.
 */
export function isWeaker(inner: AuthorizeConfig, outer: AuthorizeConfig): boolean {
  return !(
    impliesScopes(inner, outer) &&
    holds(inner.permissions, outer.permissions) &&
    impliesSubject(inner, outer) &&
    isWithin(inner.clients, outer.clients) &&
    isWithin(inner.organizations, outer.organizations) &&
    outer.claims.every((claim) => inner.claims.some((other) => implies(other, claim))) &&
    holds(inner.authorizationDetails ?? [], outer.authorizationDetails ?? []) &&
    impliesActors(inner, outer) &&
    isWithin(inner.acrValues, outer.acrValues) &&
    isAtMost(inner.maxAgeMs, outer.maxAgeMs)
  )
}

/** The claims that the conditions depend on: a token with other values may be refused. */
export function claimsJudged(authorize: AuthorizeConfig): ReadonlySet<string> {
  const { scopes, anyScope, permissions, subject, clients, organizations, claims } = authorize
  const { authorizationDetails, actors, mayAct, acrValues, maxAgeMs } = authorize
  const decidesActors = actors.allow !== undefined || actors.required
  const judged: readonly (readonly [boolean, readonly string[]])[] = [
    [scopes.length + anyScope.length > 0, ['scope', 'scp']],
    [permissions.length > 0, ['permissions']],
    [subject !== 'any', ['sub', 'gty', 'idtyp', 'oid', 'uid']],
    [subject !== 'any' || clients !== undefined, ['azp', 'client_id', 'appid', 'cid']],
    [organizations !== undefined, ['org_id']],
    [authorizationDetails !== undefined, ['authorization_details']],
    [decidesActors || actors.maxDepth !== undefined, ['act']],
    [mayAct !== 'ignore', ['may_act']],
    [acrValues !== undefined, ['acr']],
    [maxAgeMs !== undefined, ['auth_time']],
  ]
  const names = judged.flatMap(([isJudged, of]) => (isJudged ? of : []))
  return new Set([...names, ...claims.flatMap(({ claim }) => claim.slice(0, 1))])
}

function impliesScopes(inner: AuthorizeConfig, outer: AuthorizeConfig): boolean {
  const anyHolds =
    outer.anyScope.length === 0 ||
    outer.anyScope.some((scope) => inner.scopes.includes(scope)) ||
    (inner.anyScope.length > 0 && holds(outer.anyScope, inner.anyScope))
  return anyHolds && holds(inner.scopes, outer.scopes)
}

function impliesSubject(inner: AuthorizeConfig, outer: AuthorizeConfig): boolean {
  return outer.subject === 'any' || outer.assumed.subject || inner.subject === outer.subject
}

function impliesActors(inner: AuthorizeConfig, outer: AuthorizeConfig): boolean {
  return (
    isWithin(inner.actors.allow, outer.actors.allow) &&
    (inner.actors.required || !outer.actors.required) &&
    (outer.assumed.maxDepth || isAtMost(inner.actors.maxDepth, outer.actors.maxDepth))
  )
}

/** Whether all claims that fulfil the one condition also fulfil the other. */
function implies(one: ClaimCondition, other: ClaimCondition): boolean {
  if (JSON.stringify(one.claim) !== JSON.stringify(other.claim)) return false
  if (other.test === 'exists') {
    return one.test === 'exists' ? one.exists === other.exists : other.exists
  }
  if (one.test === 'exists' || one.test !== other.test) return false
  return one.test === 'oneOf' ? holds(other.values, one.values) : holds(one.values, other.values)
}

function holds<Item>(all: readonly Item[], some: readonly Item[]): boolean {
  return some.every((one) => all.includes(one))
}

/** Whether one list of what is allowed lies within another. Undefined allows everything. */
function isWithin(
  inner: readonly string[] | undefined,
  outer: readonly string[] | undefined,
): boolean {
  return outer === undefined || (inner !== undefined && holds(outer, inner))
}

/** Whether the inner limit is at most the outer one. Undefined is no limit. */
function isAtMost(inner: number | undefined, outer: number | undefined): boolean {
  return outer === undefined || (inner !== undefined && inner <= outer)
}

function isUndefined(value: unknown): boolean {
  return value === undefined
}
