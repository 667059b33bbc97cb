import type { Permit } from '../authorize/authorize.ts'
import { GatewayError } from '../errors.ts'
import type { Profile } from './profiles.ts'
import type { TokenAnswer } from './token-endpoint.ts'

/** What an exchange returned, checked. A value of scheme `none` stands for "send no credentials". */
export interface IssuedToken {
  readonly scheme: 'Bearer' | 'none'
  readonly value: string
  /** Epoch milliseconds; in the past where the issuer gave no lifetime that makes sense. */
  readonly expiresAt: number
  /** What was granted of the scopes that were asked for; empty where none were. */
  readonly scopes: readonly string[]
}

/**
 * Whether what came back is what was asked for: the token's characters, `token_type` and `issued_token_type` always, and
 * `iss`, `sub`, `aud`, `exp` and the scopes where the token can be read. Does NOT verify the issued token's signature: it
 * came from its issuer over a connection of ours, and its reader is the upstream.
 *
 * @param sentAt when it was asked for, in epoch milliseconds: its lifetime is counted from then
 * @throws {GatewayError} `exchange_misconfigured`
 */
export function checkIssued(
  answer: TokenAnswer,
  { subject, route }: Permit,
  profile: Profile,
  sentAt: number,
): IssuedToken {
  const { exchange } = route
  if (!B64TOKEN.test(answer.accessToken)) reject('access_token')
  if (answer.tokenType !== 'bearer') reject('token_type')
  if (answer.issuedTokenType !== profile.requestedTokenType) reject('issued_token_type')
  const claims = readable(answer.accessToken)
  if (claims !== undefined) {
    if (claims['iss'] !== subject.issuer) reject('iss')
    if (claims['sub'] !== subject.subject) reject('sub')
    if (!holds(claims['aud'], exchange.expectAudience ?? exchange.audience ?? exchange.resource)) {
      reject('aud')
    }
    if (claims['exp'] !== undefined && typeof claims['exp'] !== 'number') reject('exp')
  }
  const scopes = exchange.scopes.length === 0 ? [] : grantedScopes(answer, claims, exchange.scopes)
  const extra = scopes.some((scope) => !exchange.scopes.includes(scope))
  if (extra && (exchange.extraScopes ?? profile.extraScopes) === 'refuse') reject('scope')
  return {
    scheme: 'Bearer',
    value: answer.accessToken,
    expiresAt: expiryOf(answer.expiresIn, claims?.['exp'], exchange.defaultLifetimeMs, sentAt),
    scopes,
  }
}

/**
 * RFC 6750, section 2.1: what stands after `Bearer`. Anything else would be kept, only to fail as a header on every use,
 * or would bring credentials of another scheme along.
 */
const B64TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/

// As JWT libraries read it: without a byte order mark, or a token that upstreams can read would be opaque to us.
const utf8 = new TextDecoder()

/** The claims of a signed JWT. A nested JWE or an opaque token is for its audience's eyes only. */
function readable(token: string): Readonly<Record<string, unknown>> | undefined {
  const segments = token.split('.')
  if (segments.length !== 3) return undefined
  try {
    const claims: unknown = JSON.parse(utf8.decode(Buffer.from(segments[1]!, 'base64url')))
    if (typeof claims === 'object' && claims !== null && !Array.isArray(claims)) {
      return claims as Readonly<Record<string, unknown>>
    }
  } catch {
    // Three segments that hold no JSON are an opaque token like any other.
  }
  return undefined
}

function holds(audience: unknown, expected: string | undefined): boolean {
  return Array.isArray(audience) ? audience.includes(expected) : audience === expected
}

/**
 * Both the answer's and the token's own, since either may hold more than was asked for. Where neither tells any, they are
 * what was asked for (RFC 6749, section 5.1).
 */
function grantedScopes(
  { scope }: TokenAnswer,
  claims: Readonly<Record<string, unknown>> | undefined,
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
  if (typeof seconds !== 'number' || !(seconds > 0)) return sentAt
  return Math.min(sentAt + seconds * 1_000, own ?? Number.POSITIVE_INFINITY)
}

function reject(what: string): never {
  throw new GatewayError('exchange_misconfigured', 'the issued token is not what was asked for', {
    cause: new Error(`the issued token failed its check: ${what}`),
  })
}
