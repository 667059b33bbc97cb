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

/** A verified access token: its signature and its static claims are known to be good. Shared by requests. */
export interface SubjectToken extends Parties {
  /** As its issuer knows it, in the only spelling that gets this far; without the encryption, where it came encrypted. */
  readonly value: string
  /** Where it came encrypted: what was presented. Anybody can encrypt `value` anew, so that nothing is kept by it. */
  readonly encrypted?: { readonly value: string; readonly digest: string } | undefined
  readonly api: Api
  /** Its `iss`, one of the identifiers of the API's issuer. */
  readonly issuer: string
  readonly subject: string
  readonly claims: Readonly<Record<string, unknown>>
  readonly scopes: ReadonlySet<string>
  readonly permissions: ReadonlySet<string>
  /** Epoch milliseconds. */
  readonly expiresAt: number
  /** Epoch milliseconds; 0 where the token names none. */
  readonly notBefore: number
  /** What the caller had to show beside the token; undefined where that is nothing. */
  readonly confirmation: Confirmation | undefined
  /** SHA-256 of `value`, base64url. Keys of caches are made from it. */
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
  /** Where verified tokens are remembered, for at most a minute. */
  readonly verified: Store<Remembered>
  /** One for each API that takes proofs. Default: none does. */
  readonly checks?: ReadonlyMap<Api, CheckProof>
}

export interface Remembered {
  readonly subject: SubjectToken
  /** Of the keys that verified it. */
  readonly epoch: string
}

/** The longest that a signature is not checked again. */
const REMEMBERED_FOR_MS = 60_000

/**
 * Verifies what was presented. Only the decryption, the signature and the static claims are remembered, by the SHA-256 of the token's
 * canonical bytes and the route's APIs, with the epoch of the keys: times and possession are judged on every request, and
 * a key that leaves the set takes what it verified with it. Does NOT look at scopes (see `authorize`); a
 * revocation is seen only where issuers are asked (see `introspect.ts`), when the minute is over.
 */
export function createAuthenticate(options: AuthenticateOptions): Authenticate {
  const { verifiers, verified, checks = new Map<Api, CheckProof>() } = options
  const possessed = createPossession(checks)

  return (presented, { authenticate: { apis } }) => {
    const { token, scheme } = presented
    assertScheme(scheme, apis)
    assertLength(token)
    const digest = hash('sha256', token, 'base64url')
    // By all APIs that it could have been for: which of them it is for is not looked up again.
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
    // Before anything is kept by its name: what is remembered was canonical, so that no other spelling is ever found.
    const api = select(token, apis)
    const result = await verifierOf(api).verify(token)
    const subject = timely(subjectOf(result, { api, token, digest }))
    // It was timely a moment ago, which may have been its last.
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
  /** As it was presented. */
  readonly token: string
  /** Of that. */
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
