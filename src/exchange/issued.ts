import { parseJson } from '../authenticate/json.ts'
import type { Permit } from '../authorize/authorize.ts'
import type { ExchangeConfig } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { type Confirmed, confirmed } from './confirmation.ts'
import { askedScopes } from './grants/refresh-token.ts'
import { listOf } from './grants/target.ts'
import type { Profile } from './profiles.ts'
import type { TokenAnswer } from './token-endpoint.ts'
import { Unfit } from './unfit.ts'

/** The checked answer of an exchange. Scheme `none` stands for "send no credentials". */
export interface IssuedToken extends Omit<Confirmed, 'scheme'> {
  readonly scheme: Confirmed['scheme'] | 'none'
  readonly value: string
  /** Epoch milliseconds; in the past where the issuer gave a lifetime that is no positive number. */
  readonly expiresAt: number
  /** The scopes that were granted; empty where none were asked for. */
  readonly scopes: readonly string[]
}

/**
 * Checks that the answer is what was asked for: always the token's characters, its `token_type`, its binding, and the
 * answer's scopes if any were asked for; after an exchange of the subject token `issued_token_type`; where the token can be
 * read its `iss`, user, `aud`, `exp` and own scopes. What each of them must be is up to the profile. Does NOT verify the
 * issued token's signature: it came from the issuer over the gateway's own connection, and the upstream verifies it.
 *
 * @param sentAt when it was asked for, in epoch milliseconds: its lifetime is counted from then
 * @param isRefresh whether it answers a refresh, which has no `issued_token_type`
 * @throws {GatewayError} `exchange_misconfigured`; `not_permitted` where a caller's refresh token is of another user
 */
export function checkIssued(
  answer: TokenAnswer,
  permit: Permit,
  profile: Profile,
  sentAt: number,
  isRefresh = false,
): IssuedToken {
  const { exchange } = permit.route
  if (!B64TOKEN.test(answer.accessToken)) reject('access_token')
  if (exchange.grant !== 'client-credentials' && !isRefresh) assertType(answer, exchange, profile)
  const claims = readable(answer.accessToken)
  const confirmation = confirmed(answer, claims, exchange.bound)
  if ('wrong' in confirmation) reject(confirmation.wrong)
  if (claims !== undefined) assertClaims(claims, permit, profile)
  // Only its claims show whose refresh token the caller brought.
  else if (exchange.grant === 'refresh-token') reject('it cannot be read')
  const scopes = exchange.scopes.length === 0 ? [] : grantedScopes(answer, claims, exchange.scopes)
  const asked = askedScopes(exchange, profile)
  const extra = scopes.some((scope) => !asked.includes(scope))
  if (extra && (exchange.extraScopes ?? profile.extraScopes) === 'refuse') reject('scope')
  return {
    ...confirmation,
    value: answer.accessToken,
    expiresAt: expiryOf(answer.expiresIn, claims?.['exp'], exchange.defaultLifetimeMs, sentAt),
    scopes,
  }
}

/**
 * Checks the characters and the type of an API's own token, and determines when it expires. Its other claims are for its
 * issuer alone.
 *
 * @throws {GatewayError} `exchange_misconfigured`
 */
export function checkActor(
  answer: TokenAnswer,
  defaultLifetimeMs: number,
  sentAt: number,
): IssuedToken {
  const { accessToken, tokenType, key } = answer
  if (!B64TOKEN.test(accessToken)) reject('access_token')
  // It may be bound to the key: the request that brings it as `actor_token` has a proof of the same key.
  if (tokenType !== 'bearer' && !(tokenType === 'dpop' && key !== undefined)) reject('token_type')
  const exp = readable(accessToken)?.['exp']
  return {
    scheme: 'Bearer',
    value: answer.accessToken,
    expiresAt: expiryOf(answer.expiresIn, exp, defaultLifetimeMs, sentAt),
    scopes: [],
  }
}

/** Where a route's `parameters` ask for another type, only that one is accepted. */
function assertType(
  { issuedTokenType }: TokenAnswer,
  { parameters, renew }: ExchangeConfig,
  { issuedTokenTypes, renewal }: Profile,
): void {
  const asked = parameters['requested_token_type']
  const accepted: readonly unknown[] =
    typeof asked === 'string'
      ? [asked]
      : renew !== undefined && 'requestedTokenType' in renewal
        ? [...issuedTokenTypes, renewal.requestedTokenType]
        : issuedTokenTypes
  if (!accepted.includes(issuedTokenType)) reject('issued_token_type')
}

function assertClaims(claims: Claims, { subject, route }: Permit, profile: Profile): void {
  const { exchange } = route
  const issuers =
    profile.issuedBy === 'the same' ? [subject.issuer] : subject.api.issuer.identifiers
  if (!issuers.some((identifier) => claims['iss'] === identifier)) reject('iss')
  if (exchange.grant !== 'client-credentials') {
    for (const name of profile.sameUser) {
      const user = subject.claims[name]
      if (typeof user === 'string' && claims[name] === user) continue
      // The caller brought both tokens: neither the gateway nor the issuer is to blame.
      if (exchange.grant === 'refresh-token') throw foreign()
      reject(name)
    }
  }
  if (!expectedAudiences(exchange).every((one) => holds(claims['aud'], one))) reject('aud')
  if (claims['exp'] !== undefined && !Number.isFinite(claims['exp'])) reject('exp')
}

/** The refusal of two good tokens that belong to different users. */
export function foreign(): GatewayError {
  return new GatewayError('not_permitted', 'the refresh token is of another user')
}

/** The token must be for all of them, because the gateway cannot know which of them the upstream is. */
function expectedAudiences({
  expectAudience,
  audience,
  resource,
}: ExchangeConfig): readonly string[] {
  return listOf(expectAudience ?? audience ?? resource)
}

/**
 * RFC 6750, section 2.1: what may follow `Bearer`. Any other token would be kept, only to fail as a header on every use, or
 * would bring credentials of another scheme along.
 */
const B64TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/

type Claims = Readonly<Record<string, unknown>>

// Skips a byte order mark, as JWT libraries do, or else a token that upstreams can read would be opaque here.
const utf8 = new TextDecoder()

/**
 * The claims of a signed JWT; undefined for a nested JWE or an opaque token, which only its audience can read. Claims that
 * the upstream may read in another way than the gateway does, such as two `sub`, are refused.
 *
 * @throws {GatewayError} `exchange_misconfigured` where they are ambiguous
 */
export function readable(token: string): Claims | undefined {
  const segments = token.split('.')
  if (segments.length !== 3) return undefined
  const text = utf8.decode(Buffer.from(segments[1]!, 'base64url'))
  let claims: unknown
  try {
    claims = JSON.parse(text)
  } catch {
    // Three segments that hold no JSON are an opaque token like any other.
    return undefined
  }
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) return undefined
  try {
    return parseJson(text) as Claims
  } catch {
    reject('its claims are ambiguous')
  }
}

function holds(audience: unknown, expected: string): boolean {
  return Array.isArray(audience) ? audience.includes(expected) : audience === expected
}

/**
 * The scopes of the answer and those of the token together, since either may hold more than was asked for. Where neither
 * names any, they are the scopes that were asked for (RFC 6749, section 5.1).
 */
function grantedScopes(
  { scope }: TokenAnswer,
  claims: Claims | undefined,
  asked: readonly string[],
): readonly string[] {
  const named = [scope, claims?.['scope'], claims?.['scp']].filter((one) => one !== undefined)
  if (named.length === 0) return asked
  const lists = named.map((one) =>
    Array.isArray(one) ? one : typeof one === 'string' ? one.split(' ') : reject('scope'),
  )
  const scopes = lists
    .flat()
    .map((one: unknown) => (typeof one === 'string' ? one : reject('scope')))
  return [...new Set(scopes.filter((one) => one !== ''))]
}

/**
 * `expires_in` (RFC 6749, section 5.1) counted from when the token was asked for, and never past its own `exp`. Where it is
 * zero, negative or not a number, the token has expired already: it is used once and not kept.
 */
function expiryOf(
  expiresIn: unknown,
  exp: unknown,
  defaultLifetimeMs: number,
  sentAt: number,
): number {
  const own = typeof exp === 'number' ? exp * 1_000 : undefined
  if (expiresIn === undefined) return own ?? sentAt + defaultLifetimeMs
  const seconds =
    typeof expiresIn === 'string' && expiresIn.trim() !== '' ? Number(expiresIn) : expiresIn
  if (typeof seconds !== 'number' || !Number.isFinite(seconds) || seconds <= 0) return sentAt
  return Math.min(sentAt + seconds * 1_000, own ?? Number.POSITIVE_INFINITY)
}

/** The issued token is not the one that was asked for. */
export class UnfitToken extends Unfit {
  /** @param what the part of it that is wrong */
  constructor(what: string) {
    const cause = new Error(`the issued token failed its check: ${what}`)
    super('the issued token is not what was asked for', cause)
  }
}

function reject(what: string): never {
  throw new UnfitToken(what)
}
