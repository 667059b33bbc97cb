import { hash } from 'node:crypto'
import type { Api, Route } from '../config/config.ts'
import { fingerprint } from '../log.ts'
import type { Store } from '../store/memory.ts'
import type { Presented } from './bearer.ts'
import type { CheckProof } from './dpop.ts'
import { assertLength, rejectToken } from './jwt.ts'
import { partiesOf, type Parties } from './parties.ts'
import { assertScheme, confirmationOf, createPossession, type Confirmation } from './possession.ts'
import { nameOfAll, select } from './select.ts'
import type { Verified, Verifier } from './verify.ts'

/** An access token whose signature and static claims have been verified. Several requests may share one value. */
export interface SubjectToken extends Parties {
  /** The token as its issuer knows it: decrypted, where it came encrypted. In canonical spelling: no other gets this far. */
  readonly value: string
  /** The token as presented, where it came encrypted. Issued tokens are not kept by it: anybody can encrypt `value` anew. */
  readonly encrypted?: { readonly value: string; readonly digest: string } | undefined
  readonly api: Api
  /** The token's `iss`, one of the identifiers of the API's issuer. */
  readonly issuer: string
  readonly subject: string
  readonly claims: Readonly<Record<string, unknown>>
  readonly scopes: ReadonlySet<string>
  readonly permissions: ReadonlySet<string>
  /** Epoch milliseconds. */
  readonly expiresAt: number
  /** Epoch milliseconds; 0 for a token without `nbf`. */
  readonly notBefore: number
  /** What the token is bound to, which the caller had to prove; undefined where it is not bound. */
  readonly confirmation: Confirmation | undefined
  /** SHA-256 of `value`, base64url. Cache keys are derived from it. */
  readonly digest: string
  /** Eight hexadecimal digits for logs; of no use outside this process. */
  readonly fingerprint: string
}

/**
 * @throws {GatewayError} `missing_token`, `invalid_token`, `keys_unavailable`, and what a {@link CheckProof} and a
 *   {@link Verifier} throw
 */
export type Authenticate = (
  presented: Presented,
  route: Route,
) => SubjectToken | Promise<SubjectToken>

export interface AuthenticateOptions {
  /** One for each API that a route names. */
  readonly verifiers: ReadonlyMap<Api, Verifier>
  /** Remembers verified tokens, for at most a minute each. */
  readonly verified: Store<Remembered>
  /** One for each API that takes proofs. Default: no API does. */
  readonly checks?: ReadonlyMap<Api, CheckProof>
}

export interface Remembered {
  readonly subject: SubjectToken
  /** The epoch of the keys that verified the token. */
  readonly epoch: string
}

/** How long a verified signature is trusted at most. */
const REMEMBERED_FOR_MS = 60_000

/**
 * Verifies presented tokens. The result of decryption, signature and static claims is remembered for up to a minute, by the
 * SHA-256 of the token's canonical bytes and the route's APIs. Times and possession are checked on every request. The epoch
 * of the keys is remembered as well: once a key leaves the set, tokens that it verified are verified again. Does NOT look
 * at scopes (see `authorize`). Does NOT notice revocations, except where issuers are asked (see `introspect.ts`), and then
 * when the minute is over.
 */
export function createAuthenticate(options: AuthenticateOptions): Authenticate {
  const { verifiers, verified, checks = new Map<Api, CheckProof>() } = options
  const possessed = createPossession(checks)

  return (presented, { authenticate: { apis } }) => {
    const { token, scheme } = presented
    assertScheme(scheme, apis)
    assertLength(token)
    const digest = hash('sha256', token, 'base64url')
    // Keyed by all APIs of the route, so that the one that the token is for need not be found again.
    const name = digest + nameOfAll(apis)
    const known = verified.get(name)
    return known !== undefined && known.epoch === epochOf(known.subject)
      ? possessed(timely(known.subject), presented)
      : verify(apis, presented, { digest, name })
  }

  function epochOf({ api, issuer }: SubjectToken): string {
    return verifierOf(api).epoch(issuer)
  }

  function verifierOf(api: Api): Verifier {
    const verifier = verifiers.get(api)
    if (verifier === undefined) throw new TypeError(`no verifier for the API ${api.name}`)
    return verifier
  }

  async function verify(
    apis: readonly Api[],
    presented: Presented,
    { digest, name }: { readonly digest: string; readonly name: string },
  ): Promise<SubjectToken> {
    const { token } = presented
    // Refuses other spellings than the canonical one before the token is remembered: none of them is ever found there.
    const api = select(token, apis)
    const result = await verifierOf(api).verify(token)
    const subject = timely(subjectOf(result, { api, token, digest }))
    // At least 1, because the token may have expired since `timely` checked it.
    const left = Math.max(1, subject.expiresAt + api.clockToleranceMs - Date.now())
    // Claims as objects weigh about three times their text.
    verified.set(
      name,
      { subject, epoch: result.epoch },
      Math.min(left, REMEMBERED_FOR_MS),
      token.length * 4,
    )
    return possessed(subject, presented)
  }
}

interface Bearing {
  readonly api: Api
  /** The token as it was presented. */
  readonly token: string
  /** SHA-256 of `token`, base64url. */
  readonly digest: string
}

function subjectOf(verified: Verified, { api, token, digest }: Bearing): SubjectToken {
  const { value, issuer, claims, scopes, permissions } = verified
  const isEncrypted = value !== token
  return {
    value,
    ...(isEncrypted && { encrypted: { value: token, digest } }),
    api,
    issuer,
    subject: claims.sub,
    claims,
    scopes: new Set(scopes),
    permissions: new Set(permissions),
    expiresAt: claims.exp * 1_000,
    notBefore: (claims.nbf ?? 0) * 1_000,
    ...partiesOf(claims, api),
    confirmation: confirmationOf(claims),
    digest: isEncrypted ? hash('sha256', value, 'base64url') : digest,
    fingerprint: fingerprint(value),
  }
}

/** RFC 7519, sections 4.1.4 and 4.1.5, with the API's clock tolerance. */
function timely(subject: SubjectToken): SubjectToken {
  const now = Date.now()
  const { expiresAt, notBefore, api } = subject
  if (now >= expiresAt + api.clockToleranceMs) rejectToken('the access token has expired')
  if (now < notBefore - api.clockToleranceMs) rejectToken('the access token is not valid yet')
  return subject
}
