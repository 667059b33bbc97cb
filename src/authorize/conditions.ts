import type { SubjectToken } from '../authenticate/authenticate.ts'
import type { AuthorizeConfig, ClaimCondition } from '../config/authorize.ts'
import type { Route } from '../config/config.ts'
import { durationText } from '../config/units.ts'
import { GatewayError } from '../errors.ts'
import { fulfils, valueAt } from './claims.ts'

/** One condition of a route. */
export interface Condition {
  /** The option that the condition comes from, for example `scopes` or `claims[0]`. */
  readonly option: string
  /** The value of that option. */
  readonly needs: unknown
  holds(subject: SubjectToken): boolean
  /** The part of the token that decides. For operators alone: it may be personal. */
  found(subject: SubjectToken): unknown
  refusal(): GatewayError
}

const compiled = new WeakMap<Route, readonly Condition[]>()

/**
 * The conditions of a route, in the order in which they are judged: first those that the user can do nothing about, then
 * those that another token could fulfil, then those that only another authentication can. They are built once for each
 * route, and only for options that the route sets.
 */
export function conditionsOf(route: Route): readonly Condition[] {
  const known = compiled.get(route)
  if (known !== undefined) return known
  const { authorize } = route
  const conditions = [
    ...subjectConditions(authorize),
    ...actorConditions(authorize),
    ...claimConditions(authorize),
    ...scopeConditions(authorize),
    ...authenticationConditions(authorize),
  ]
  compiled.set(route, conditions)
  return conditions
}

function* subjectConditions(authorize: AuthorizeConfig): Iterable<Condition> {
  const { subject: kind, clients, organizations } = authorize
  if (kind !== 'any') {
    yield {
      option: 'subject',
      needs: kind,
      holds: (subject) => subject.kind === kind,
      found: (subject) => subject.kind,
      refusal: notPermitted(`the access token does not speak for a ${kind}, as this route asks`),
    }
  }
  if (clients !== undefined) {
    const allowed = new Set(clients)
    yield {
      option: 'clients',
      needs: clients,
      holds: ({ client }) => client !== undefined && allowed.has(client),
      found: ({ client }) => client,
      refusal: notPermitted('the client of the access token may not use this route'),
    }
  }
  if (organizations !== undefined) {
    const allowed = new Set<unknown>(organizations)
    yield {
      option: 'organizations',
      needs: organizations,
      holds: ({ claims }) => allowed.has(claims['org_id']),
      found: ({ claims }) => claims['org_id'],
      refusal: notPermitted('the access token is of no organization that may use this route'),
    }
  }
}

/** RFC 8693, section 4.1: only the outermost actor counts for access control; nested ones are history. */
function* actorConditions({ actors, mayAct }: AuthorizeConfig): Iterable<Condition> {
  const { allow, required, maxDepth } = actors
  if (required) {
    yield {
      option: 'actors.required',
      needs: true,
      holds: ({ actor }) => actor !== undefined,
      found: ({ actor }) => actor !== undefined,
      refusal: notPermitted('nobody acts for the subject of the access token'),
    }
  }
  if (allow !== undefined) {
    const allowed = new Set(allow)
    yield {
      option: 'actors.allow',
      needs: allow,
      holds: ({ actor, api }) =>
        actor === undefined ||
        (actor.subject !== undefined && allowed.has(actor.subject) && isOf(api, actor.issuer)),
      found: ({ actor }) => actor,
      refusal: notPermitted('who acts for the subject of the access token may not use this route'),
    }
  }
  if (maxDepth !== undefined) {
    yield {
      option: 'actors.maxDepth',
      needs: maxDepth,
      holds: (subject) => subject.actors <= maxDepth,
      found: (subject) => subject.actors,
      refusal: notPermitted('too many act one for another in the access token'),
    }
  }
  if (mayAct !== 'ignore') {
    yield {
      option: 'mayAct',
      needs: mayAct,
      holds: ({ claims, api }) =>
        claims['may_act'] === undefined ? mayAct === 'check' : isClientOf(api, claims['may_act']),
      found: ({ claims }) => claims['may_act'],
      refusal: notPermitted('the access token does not let this gateway act for its subject'),
    }
  }
}

type Api = SubjectToken['api']

/** Whether a party is of the token's issuer, or names none. Another issuer may use the same name for another party. */
function isOf({ issuer }: Api, iss: unknown): boolean {
  return iss === undefined || issuer.identifiers.some((identifier) => identifier === iss)
}

/** RFC 8693, section 4.4: the members of `may_act` together identify the party that may become the actor. */
function isClientOf(api: Api, mayAct: unknown): boolean {
  if (typeof mayAct !== 'object' || mayAct === null || Array.isArray(mayAct)) return false
  const { sub, client_id: clientId, iss } = mayAct as Readonly<Record<string, unknown>>
  const named = [sub, clientId].filter((name) => name !== undefined)
  return named.length > 0 && named.every((name) => name === api.client?.id) && isOf(api, iss)
}

function* claimConditions({ claims, authorizationDetails }: AuthorizeConfig): Iterable<Condition> {
  for (const [index, condition] of claims.entries()) {
    yield {
      option: `claims[${index}]`,
      needs: condition,
      holds: (subject) => fulfils(subject.claims, condition),
      found: (subject) => valueAt(subject.claims, condition.claim),
      refusal: notPermitted(`the claim ${wayText(condition)} is not what this route asks for`),
    }
  }
  if (authorizationDetails !== undefined) {
    yield {
      option: 'authorizationDetails',
      needs: authorizationDetails,
      holds: (subject) => {
        const types = detailTypes(subject)
        return authorizationDetails.every((type) => types.includes(type))
      },
      found: detailTypes,
      refusal: notPermitted('the access token lacks authorization details of this route'),
    }
  }
}

function wayText({ claim }: ClaimCondition): string {
  return claim.map((name) => `"${name}"`).join(' > ')
}

/** RFC 9396, section 2: `authorization_details` is a list of objects, each with a `type`. */
function detailTypes({ claims }: SubjectToken): readonly unknown[] {
  const details = claims['authorization_details']
  return Array.isArray(details) ? details.map((detail: unknown) => valueAt({ detail }, TYPE)) : []
}

const TYPE = ['detail', 'type'] as const

function* scopeConditions({ scopes, anyScope, permissions }: AuthorizeConfig): Iterable<Condition> {
  if (scopes.length > 0) {
    yield {
      option: 'scopes',
      needs: scopes,
      holds: (subject) => scopes.every((scope) => subject.scopes.has(scope)),
      found: (subject) => [...subject.scopes],
      refusal: lacks('scope', scopes),
    }
  }
  if (anyScope.length > 0) {
    yield {
      option: 'anyScope',
      needs: anyScope,
      holds: (subject) => anyScope.some((scope) => subject.scopes.has(scope)),
      found: (subject) => [...subject.scopes],
      refusal: lacks('scope', anyScope),
    }
  }
  if (permissions.length > 0) {
    yield {
      option: 'permissions',
      needs: permissions,
      holds: (subject) => permissions.every((permission) => subject.permissions.has(permission)),
      found: (subject) => [...subject.permissions],
      refusal: lacks('permission', permissions),
    }
  }
}

/** RFC 9470, section 3. Either refusal names both requirements, so that one authentication can fulfil them together. */
function* authenticationConditions({ acrValues, maxAgeMs }: AuthorizeConfig): Iterable<Condition> {
  const stepUp = {
    ...(acrValues !== undefined && { acrValues }),
    ...(maxAgeMs !== undefined && { maxAge: maxAgeMs / 1_000 }),
  }
  const refusal = (detail: string) => () =>
    new GatewayError('insufficient_user_authentication', detail, { stepUp })
  if (acrValues !== undefined) {
    const enough = new Set<unknown>(acrValues)
    yield {
      option: 'acrValues',
      needs: acrValues,
      holds: ({ claims }) => enough.has(claims['acr']),
      found: ({ claims }) => claims['acr'],
      refusal: refusal('the user must authenticate in another way'),
    }
  }
  if (maxAgeMs !== undefined) {
    yield {
      option: 'maxAge',
      needs: durationText(maxAgeMs),
      holds: (subject) => isRecent(subject, maxAgeMs),
      found: ({ claims }) => claims['auth_time'],
      refusal: refusal('the user must authenticate again'),
    }
  }
}

/** Applies the API's clock tolerance in both directions. A token without `auth_time` is not recent. */
function isRecent({ claims, api }: SubjectToken, maxAgeMs: number): boolean {
  const { auth_time: at } = claims
  if (typeof at !== 'number' || !Number.isFinite(at)) return false
  const agoMs = Date.now() - at * 1_000
  return agoMs <= maxAgeMs + api.clockToleranceMs && agoMs >= -api.clockToleranceMs
}

function notPermitted(detail: string): () => GatewayError {
  return () => new GatewayError('not_permitted', detail)
}

/** RFC 6750, section 3.1: the challenge names the scopes that were needed. */
function lacks(what: 'scope' | 'permission', needed: readonly string[]): () => GatewayError {
  const detail = `the access token lacks a ${what} of this route`
  return () => new GatewayError('insufficient_scope', detail, { scopes: needed })
}
