import type { AuthorizeConfig, ClaimCondition } from '../../config/authorize.ts'
import type { Route } from '../../config/config.ts'
import { durationText } from '../../config/units.ts'

/** A route's conditions on a token, in words. */
export function needs({ authorize }: Route): string {
  const parts = [...conditions(authorize)]
  return parts.length === 0 ? 'nothing more' : parts.join('; ')
}

function* conditions(authorize: AuthorizeConfig): Iterable<string> {
  const { scopes, anyScope, permissions, claims, subject, clients, organizations } = authorize
  const { authorizationDetails, actors, mayAct, acrValues, maxAgeMs } = authorize
  if (scopes.length > 0) yield scopes.join(' and ')
  if (anyScope.length > 0) yield `one of ${anyScope.join(', ')}`
  if (permissions.length > 0) yield `permissions ${permissions.join(' and ')}`
  if (subject !== 'any') yield `a ${subject}`
  if (clients !== undefined) yield `client ${clients.join(' or ')}`
  if (organizations !== undefined) yield `organization ${organizations.join(' or ')}`
  for (const claim of claims) yield `claim ${condition(claim)}`
  if (authorizationDetails !== undefined) {
    yield `authorization details ${authorizationDetails.join(' and ')}`
  }
  if (actors.required) yield 'an actor'
  if (actors.allow !== undefined) yield `no actor but ${actors.allow.join(' or ')}`
  if (actors.maxDepth !== undefined) yield `at most ${actors.maxDepth} actors`
  if (mayAct === 'require') yield 'may_act for its API'
  if (acrValues !== undefined) yield `acr ${acrValues.join(' or ')}`
  if (maxAgeMs !== undefined) yield `an authentication in the last ${durationText(maxAgeMs)}`
}

function condition(written: ClaimCondition): string {
  const name = written.claim.join(' > ')
  if (written.test === 'exists') return `${name} ${written.exists ? 'is there' : 'is not there'}`
  const values = written.values.map((value) => JSON.stringify(value))
  return written.test === 'oneOf'
    ? `${name} is ${values.join(' or ')}`
    : `${name} holds ${values.join(' and ')}`
}
