import { hash } from 'node:crypto'
import type { Permit } from '../authorize/authorize.ts'
import type { SubjectToken } from '../authenticate/authenticate.ts'
import type { Api, Route } from '../config/config.ts'
import { thumbprintOf } from './binding.ts'
import { clientAt } from './client.ts'
import { PROFILES } from './profiles.ts'
import { redeemedBy } from './redeem.ts'

// A verified token stays one object for as long as it is remembered, and so does a route: their key is computed once.
const keys = new WeakMap<SubjectToken, Map<Route, Known>>()

/** A key that was computed before. It is valid while the route's tokens are bound to this thumbprint. */
interface Known {
  readonly thumbprint: string
  readonly key: string
}

/**
 * The name of an issued token: SHA-256 over everything that decides the answer of an exchange, each field with its
 * length before it, so that no two lists of fields read the same. No secret can be derived from it.
 */
export function exchangeKey(permit: Permit): string {
  const key = subjectKey(permit)
  return permit.route.exchange.grant === 'refresh-token' ? redeemedKey(key, permit) : key
}

function subjectKey({ subject, route }: Permit): string {
  const thumbprint = route.exchange.bound === undefined ? '' : thumbprintOf({ subject, route })
  let ofSubject = keys.get(subject)
  if (ofSubject === undefined) keys.set(subject, (ofSubject = new Map()))
  const known = ofSubject.get(route)
  if (known?.thumbprint === thumbprint) return known.key
  const key = named(subject, route, thumbprint, subjectPart(subject, route))
  ofSubject.set(route, { thumbprint, key })
  return key
}

/** The name of the issuer's refusal of this very token, whatever the route's `key` is. */
export function refusalKey(permit: Permit): string {
  const { subject, route } = permit
  const key = named(subject, route, thumbprintOf({ subject, route }), tokenPart(subject))
  return route.exchange.grant === 'refresh-token' ? redeemedKey(key, permit) : key
}

/** All refresh tokens of a line have its name in their key: a successor finds the issued token of its predecessor. */
function redeemedKey(key: string, permit: Permit): string {
  return hash('sha256', field(key) + field(redeemedBy(permit).line.name), 'base64url')
}

/**
 * The name of a family of refresh tokens: of one user, session and context, whatever the route's `key` is, because a family
 * outlives the subject tokens that it serves.
 */
export function familyKey({ subject, route }: Permit): string {
  const { sid } = subject.claims
  const context = contextOf(subject, route) ?? tokenPart(subject)
  const family = [context, subject.subject, typeof sid === 'string' ? sid : '']
  return named(subject, route, '', family.map(field).join(''))
}

function named(
  { api, issuer }: SubjectToken,
  route: Route,
  thumbprint: string,
  subjectPart: string,
): string {
  const parts = routePart(api, route) + field(issuer) + field(thumbprint) + field(subjectPart)
  return hash('sha256', parts, 'base64url')
}

const routeParts = new WeakMap<Api, WeakMap<Route, string>>()

/** The fields that depend on the route and its API alone, computed once for both. */
function routePart(api: Api, route: Route): string {
  let ofApi = routeParts.get(api)
  if (ofApi === undefined) routeParts.set(api, (ofApi = new WeakMap()))
  const known = ofApi.get(route)
  if (known !== undefined) return known
  const part = routeFields(api, route)
    .map(({ value }) => field(value))
    .join('')
  ofApi.set(route, part)
  return part
}

function routeFields(api: Api, route: Route): readonly KeyPart[] {
  const { grant, audience, resource } = route.exchange
  const scopes = [...new Set(route.exchange.scopes)].sort()
  return [
    { name: 'epoch', value: epoch(api, route, scopes) },
    { name: 'client', value: clientAt(api, route)?.id ?? '' },
    { name: 'grant', value: grant },
    { name: 'audience', value: JSON.stringify(audience ?? null) },
    { name: 'resource', value: JSON.stringify(resource ?? null) },
    { name: 'scopes', value: JSON.stringify(scopes) },
  ]
}

/** One of the fields that a key is made of. The name is for display, and not a part of the key. */
export interface KeyPart {
  readonly name: string
  readonly value: string
}

/**
 * The fields of a permit's key in their order, for an operator to see. The subject token is shown as its SHA-256, or as that
 * of its context with the names of the context's claims. A refresh token that the caller brings is left out.
 *
 * @throws {GatewayError} `exchange_misconfigured` where there is nothing to bind tokens to
 */
export function keyParts({ subject, route }: Permit): readonly KeyPart[] {
  const { api, issuer, claims } = subject
  const part = subjectPart(subject, route)
  const counted = Object.keys(claims).filter((name) => !ignoredClaims(api, route).has(name))
  return [
    ...routeFields(api, route),
    { name: 'issuer', value: issuer },
    { name: 'bound to', value: thumbprintOf({ subject, route }) },
    { name: 'subject', value: part },
    ...(part.startsWith('context:') ? [{ name: 'context', value: counted.sort().join(' ') }] : []),
  ]
}

/**
 * Changes when the meaning of kept tokens could have changed: with the issuer's entry, the client's id and method, or the
 * `exchange` block. It does not change with a secret or another route, so that a rollout is no cold start.
 */
function epoch(api: Api, route: Route, scopes: readonly string[]): string {
  const { budget: _, ...entry } = api.issuer
  const client = clientAt(api, route)
  // Scopes are a set: neither their order nor a repeated one means anything.
  const exchange = { ...route.exchange, scopes, client: undefined }
  const identity = { issuer: entry, client: [client?.id, client?.method], exchange }
  return hash('sha256', canonicalJson(identity), 'base64url')
}

/** `key: token`: this very token. `key: context`: every token with the same claims, but for those that always differ. */
function subjectPart(subject: SubjectToken, route: Route): string {
  // A client credentials token says nothing about the subject: it is one for all.
  if (route.exchange.grant === 'client-credentials') return 'client'
  const context = route.exchange.key === 'context' ? contextOf(subject, route) : undefined
  return context ?? tokenPart(subject)
}

/** Whether the key rests on this very token, so that nobody can compute it without the token. */
export function isOfToken({ subject, route }: Permit): boolean {
  return subjectPart(subject, route) === tokenPart(subject)
}

function tokenPart({ digest }: SubjectToken): string {
  return `token:${digest}`
}

function contextOf({ claims, api }: SubjectToken, route: Route): string | undefined {
  const ignored = ignoredClaims(api, route)
  const kept = Object.entries(claims).filter(([name]) => !ignored.has(name))
  // Above 2^53 two integers are read as one number, and beyond the largest double all are: two tokens would share one key.
  if (!kept.every(([, value]) => exact(value))) return undefined
  const context = canonicalJson(Object.fromEntries(kept))
  return `context:${hash('sha256', context, 'base64url')}`
}

function ignoredClaims({ issuer }: Api, { exchange }: Route): ReadonlySet<string> {
  const { volatileClaims } = PROFILES[issuer.profile]
  return new Set(['exp', 'iat', 'nbf', 'jti', ...volatileClaims, ...exchange.ignoreClaims])
}

function exact(value: unknown): boolean {
  if (typeof value === 'number') {
    return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
  }
  return typeof value !== 'object' || value === null || Object.values(value).every(exact)
}

/** RFC 8785. Numbers and strings are written as ECMAScript writes them, as the RFC asks. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map((one: unknown) => canonicalJson(one ?? null)).join(',')}]`
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`)
  return `{${members.join(',')}}`
}

function field(text: string): string {
  return `${text.length}:${text}`
}
