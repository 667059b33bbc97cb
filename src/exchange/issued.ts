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

/** What an exchange returned, checked. A value of scheme `none` stands for "send no credentials". */
export interface IssuedToken extends Omit<Confirmed, 'scheme'> {
  readonly scheme: Confirmed['scheme'] | 'none'
  readonly value: string
  /** Epoch milliseconds; in the past where the issuer gave no lifetime that makes sense. */
  readonly expiresAt: number
  /** What was granted of the scopes that were asked for; empty where none were. */
  readonly scopes: readonly string[]
}

/**
 * Whether what came back is what was asked for: the token's characters, `token_type` and what it is bound to always,
 * `issued_token_type` after an exchange of the subject token, and `iss`, the user, `aud`, `exp` and the scopes where the
 * token can be read. What each means is the profile's. Does NOT verify the issued token's signature: it came from its issuer over a connection of
 * ours, and its reader is the upstream.
 *
 * @param sentAt when it was asked for, in epoch milliseconds: its lifetime is counted from then
 * @param isRefresh whether it came for a refresh token, which names no type of what it is exchanged for
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
  // Whose the caller's refresh token is, is known by nothing else.
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
 * An API's own token, which only its issuer will read: it must be one, and its time is counted.
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
  // The request that brings it as `actor_token` has a proof of the same key.
  if (tokenType !== 'bearer' && !(tokenType === 'dpop' && key !== undefined)) reject('token_type')
  const exp = readable(accessToken)?.['exp']
  return {
    scheme: 'Bearer',
    value: answer.accessToken,
    expiresAt: expiryOf(answer.expiresIn, exp, defaultLifetimeMs, sentAt),
    scopes: [],
  }
}

/** A route that asks for another type by its `parameters` means that one. */
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
      // The caller brought both: nothing is wrong with us, nor with the issuer.
      if (exchange.grant === 'refresh-token') throw foreign()
      reject(name)
    }
  }
  if (!expectedAudiences(exchange).every((one) => holds(claims['aud'], one))) reject('aud')
  if (claims['exp'] !== undefined && !Number.isFinite(claims['exp'])) reject('exp')
}

/** Two good tokens that do not belong together. */
export function foreign(): GatewayError {
  return new GatewayError('not_permitted', 'the refresh token is of another user')
}

/** A token for all of them: which of them the upstream is, is known to nobody here. */
function expectedAudiences({
  expectAudience,
  audience,
  resource,
}: ExchangeConfig): readonly string[] {
  return listOf(expectAudience ?? audience ?? resource)
}

/**
 * RFC 6750, section 2.1: what stands after `Bearer`. Anything else would be kept, only to fail as a header on every use,
 * or would bring credentials of another scheme along.
 */
const B64TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/

type Claims = Readonly<Record<string, unknown>>

// As JWT libraries read it: without a byte order mark, or a token that upstreams can read would be opaque to us.
const utf8 = new TextDecoder()

/**
 * The claims of a signed JWT. A nested JWE or an opaque token is for its audience's eyes only. Claims that the upstream may
 * read in another way than we do, such as two `sub`, are nobody's.
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
 * Both the answer's and the token's own, since either may hold more than was asked for. Where neither tells any, they are
 * what was asked for (RFC 6749, section 5.1).
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
 * `expires_in` (RFC 6749, section 5.1) counted from when it was asked for, and never past the token's own `exp`. Zero,
 * negative or not a number: expired already, so it is used once and not kept.
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

/** What came is not what was asked for. */
export class UnfitToken extends Unfit {
  /** @param what of it is wrong */
  constructor(what: string) {
    const cause = new Error(`the issued token failed its check: ${what}`)
    super('the issued token is not what was asked for', cause)
  }
}

function reject(what: string): never {
  throw new UnfitToken(what)
}
