import {
  allowInsecureRequests,
  ClientError,
  Configuration,
  customFetch,
  type CustomFetchOptions,
  genericGrantRequest,
  ResponseBodyError,
} from 'openid-client'
import { parseJson } from '../authenticate/json.ts'
import { GatewayError, type GatewayErrorOptions } from '../errors.ts'
import type { Outbound } from '../outbound.ts'
import { claimsChallenge } from './claims-challenge.ts'
import { type DpopKey, nonceOf, type Nonces } from './dpop.ts'
import type { ClientIdentity } from './identity.ts'
import { OURS_TO_MEND, type Profile, type Refusal } from './profiles.ts'
import type { Proof, Prove } from './prove.ts'
import { Unfit } from './unfit.ts'

/** What a token endpoint answered: its shape is checked, its meaning is not (see `checkIssued`). */
export interface TokenAnswer {
  readonly accessToken: string
  /** In lower case; empty where the answer names none. */
  readonly tokenType: string
  readonly issuedTokenType: unknown
  /** As it came, of any type. */
  readonly expiresIn: unknown
  readonly scope: string | undefined
  /** Absent where the answer has none that is well-formed. */
  readonly refreshToken?: string | undefined
  /** The key that the request proved possession of (RFC 9449, section 5). */
  readonly key?: DpopKey | undefined
  /** The certificate that the connection showed (RFC 8705, section 3). */
  readonly identity?: ClientIdentity | undefined
}

export interface TokenRequest {
  readonly grantType: string
  readonly form: URLSearchParams
  /** What the form presents. With `client` every refusal is the operator's to mend, since no user is involved. */
  readonly about: 'subject' | 'client' | 'refresh token'
  readonly timeoutMs: number
}

export interface TokenEndpoint {
  /** @throws {GatewayError} with the code that the profile gives to the issuer's refusal, or `exchange_unavailable` */
  request(request: TokenRequest): Promise<TokenAnswer>
}

export interface TokenEndpointOptions {
  readonly issuer: string
  readonly url: string
  readonly profile: Profile
  /** How the client authenticates. */
  readonly prove: Prove
  /** The key to bind tokens to, as it is at each request, and the nonces for its proofs. Default: tokens are not bound. */
  readonly dpop?: { readonly key: () => Promise<DpopKey>; readonly nonces: Nonces } | undefined
}

/** One client's access to one token endpoint (RFC 6749, section 3.2), over kept connections. */
export function createTokenEndpoint(options: TokenEndpointOptions): TokenEndpoint {
  const { prove, dpop } = options
  return {
    async request({ grantType, form, about, timeoutMs }) {
      const signal = AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs)))
      const proof = await prove()
      const key = await dpop?.key()
      const configuration = configurationOf(options, proof)
      const send: CustomFetch = (target, init) =>
        judgeable(proof.outbound, target, { ...init, signal })
      configuration[customFetch] =
        dpop === undefined || key === undefined ? send : proving(send, key, dpop.nonces)
      const ask = async () => genericGrantRequest(configuration, grantType, form)
      const answer = await ask()
        .catch((cause: unknown) => {
          // Asks once more, now with the nonce; and with a new client assertion, since each is used once.
          if (key !== undefined && asksForNonce(cause)) return ask()
          throw cause
        })
        .catch((cause: unknown) => rejectExchange(cause, options, about))
      const tokenType = answer[TOKEN_TYPE]
      return {
        accessToken: answer.access_token,
        tokenType: typeof tokenType === 'string' ? tokenType.toLowerCase() : '',
        issuedTokenType: answer['issued_token_type'],
        expiresIn: answer[LIFETIME],
        scope: answer.scope,
        ...broughtBy(answer.refresh_token),
        ...(key && { key }),
        ...(proof.identity && { identity: proof.identity }),
      }
    },
  }
}

/** RFC 6749, appendix A.17, without spaces at its ends: the token has to get through a header unchanged. */
const REFRESH_TOKEN = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/
const LONGEST_REFRESH_TOKEN = 8_192

function broughtBy(refreshToken: string | undefined): Pick<TokenAnswer, 'refreshToken'> {
  const isOne = refreshToken !== undefined && refreshToken.length <= LONGEST_REFRESH_TOKEN
  return isOne && REFRESH_TOKEN.test(refreshToken) ? { refreshToken } : {}
}

type CustomFetch = (target: string, init: CustomFetchOptions) => Promise<Response>

/** RFC 9449, sections 5 and 8: each request has its own proof, with the nonce that the server gave last. */
function proving(send: CustomFetch, key: DpopKey, nonces: Nonces): CustomFetch {
  return async (target, init) => {
    const dpop = key.proof({ method: init.method, url: target, nonce: nonces.for(target) })
    const response = await send(target, { ...init, headers: { ...init.headers, dpop } })
    nonces.learn(target, response.headers)
    return response
  }
}

function asksForNonce(cause: unknown): boolean {
  return (
    cause instanceof ResponseBodyError &&
    cause.error === 'use_dpop_nonce' &&
    nonceOf(cause.response.headers) !== undefined
  )
}

function configurationOf({ issuer, url }: TokenEndpointOptions, proof: Proof): Configuration {
  const server = { issuer, token_endpoint: url }
  const configuration = new Configuration(server, proof.clientId, undefined, proof.authenticate)
  // The library fails where its seconds are no whole number of milliseconds: the signal of the request keeps the time.
  configuration.timeout = 0
  // The configuration and discovery have decided where plain http is acceptable.
  if (url.startsWith('http:')) allowInsecureRequests(configuration)
  return configuration
}

/** The names that carry two members of the answer past the library, which throws on unusual values. */
const LIFETIME = 'behalf:expires_in'
const TOKEN_TYPE = 'behalf:token_type'

/**
 * openid-client throws on a negative or non-numeric `expires_in`, on a `token_type` that it does not know, on null
 * members, and on an ID token that nobody asked for. It is given a copy without them; the gateway judges the first two. From
 * a refusal it would read the challenge, and not the body, which holds the error (RFC 6749, section 5.2): the copy has none.
 */
async function judgeable(
  outbound: Outbound,
  url: string,
  { method, headers, body, signal }: CustomFetchOptions,
): Promise<Response> {
  const response = await outbound.fetch(url, {
    method: method === 'POST' ? 'POST' : 'GET',
    headers: Object.entries(headers),
    body: body instanceof URLSearchParams ? body.toString() : '',
    signal,
  })
  response.headers.delete('www-authenticate')
  const { status, headers: answered } = response
  const text = await response.text()
  // Some statuses have no body, not even an empty one.
  const copy = (json: string): Response =>
    new Response(json === '' ? null : json, { status, headers: answered })
  let answer: unknown
  try {
    answer = parseJson(text)
  } catch {
    // Also where a member is repeated, since nobody knows which one the issuer meant. The library would reject invalid JSON
    // as well, but with a piece of it in its message, which may be a part of a token.
    return copy('')
  }
  if (status !== 200) return copy(text)
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) return copy(text)
  const {
    expires_in: lifetime,
    token_type: type,
    id_token: _,
    ...others
  } = answer as Record<string, unknown>
  const members = Object.entries(others).filter(([, value]) => value !== null)
  return copy(
    JSON.stringify({
      ...Object.fromEntries(members),
      token_type: 'Bearer',
      [LIFETIME]: lifetime ?? undefined,
      [TOKEN_TYPE]: type,
    }),
  )
}

/**
 * Turns a failed request into an error of the gateway: 5xx, 408 and unusable 200s are outages, 429 is throttling, and an
 * OAuth error is a decision with the meaning that the profile gives it. Any other 4xx is `exchange_misconfigured`. Of the
 * issuer's own words only the `claims` of a step-up get any further than the log.
 */
function rejectExchange(
  cause: unknown,
  { profile, url }: TokenEndpointOptions,
  about: TokenRequest['about'],
): never {
  const refusal = refusalOf(cause)
  if (refusal === undefined || refusal.status >= 500 || refusal.status === 408) unavailable(cause)
  if (refusal.status === 429) throttled(cause, refusal.headers)
  if (refusal.error === undefined) {
    const detail = 'the token endpoint does not speak OAuth'
    if (about === 'client') throw new GatewayError('exchange_misconfigured', detail, { cause })
    throw new Unfit(detail, cause)
  }
  const code = meaningOf(refusal, profile)
  if (code === 'exchange_unavailable') unavailable(cause)
  if (about === 'client') reject('exchange_misconfigured', { cause })
  // Claims that the user can satisfy become a step-up, whichever of the two errors they come with.
  const isMendable = code === 'insufficient_user_authentication' || code === 'invalid_token'
  const stepUp =
    profile.claimsChallenges && isMendable ? claimsChallenge(refusal.claims, url) : undefined
  if (stepUp !== undefined) reject('insufficient_user_authentication', { cause, stepUp })
  if (about === 'refresh token' && code === 'invalid_token') {
    throw new GatewayError(code, 'the issuer did not accept the refresh token', { cause })
  }
  const isOurs = Object.hasOwn(OURS_TO_MEND, refusal.error)
  if (code === 'exchange_misconfigured' && !isOurs) throw new Unfit(DETAILS[code], cause)
  reject(code, { cause })
}

function reject(code: keyof typeof DETAILS, options: GatewayErrorOptions): never {
  throw new GatewayError(code, DETAILS[code], options)
}

function meaningOf(
  { status, error = '', suberror = '' }: IssuerRefusal,
  { refusals, refusalsByStatus, refusalsBySuberror }: Profile,
): Refusal {
  if (Object.hasOwn(refusalsBySuberror, suberror)) return refusalsBySuberror[suberror]!
  if (Object.hasOwn(refusals, error)) return refusals[error]!
  return refusalsByStatus[status] ?? 'exchange_denied'
}

const DETAILS = {
  invalid_token: 'the issuer did not accept the access token for an exchange',
  exchange_denied: 'the issuer denied the exchange',
  exchange_misconfigured: 'the issuer did not accept the gateway as a client',
  insufficient_user_authentication: 'the issuer asks for a stronger authentication of the user',
}

interface IssuerRefusal {
  readonly status: number
  readonly headers: Headers
  /** The OAuth error's name, where the answer holds one. */
  readonly error: string | undefined
  /** Entra's refinement of the error. */
  readonly suberror?: string | undefined
  /** What Entra asks the user for; not checked yet, and of any type. */
  readonly claims?: unknown
}

function refusalOf(cause: unknown): IssuerRefusal | undefined {
  if (cause instanceof ResponseBodyError) {
    const { status, error, response } = cause
    const suberror = cause.cause['suberror']
    return {
      status,
      headers: response.headers,
      error,
      suberror: typeof suberror === 'string' ? suberror : undefined,
      claims: cause.cause['claims'],
    }
  }
  if (cause instanceof ClientError && cause.cause instanceof Response) {
    // A refusal without an OAuth error. A 200 gets here if it is unusable, and counts as an outage.
    const { status, headers } = cause.cause
    // RFC 6749, section 5.2: a 401 of the token endpoint is about the client, even where it says no more.
    const error = status === 401 ? 'invalid_client' : undefined
    return status >= 400 ? { status, headers, error } : undefined
  }
  return undefined
}

const COME_BACK_SECONDS = 1
const LONGEST_PAUSE_SECONDS = 60

function unavailable(cause: unknown): never {
  throw new GatewayError('exchange_unavailable', 'the issuer cannot exchange the token now', {
    cause,
    retryAfter: COME_BACK_SECONDS,
  })
}

function throttled(cause: unknown, headers: Headers): never {
  throw new GatewayError('exchange_unavailable', 'the issuer asks for fewer exchanges', {
    cause,
    retryAfter: pauseOf(headers),
    throttled: true,
  })
}

/** A pause of 1 to 60 seconds, by Retry-After (RFC 9110, section 10.2.3) or Auth0's X-RateLimit-Reset in epoch seconds. */
export function pauseOf(headers: Headers): number {
  const retryAfter = headers.get('retry-after')
  const reset = headers.get('x-ratelimit-reset')
  const now = Date.now() / 1_000
  let seconds = COME_BACK_SECONDS
  if (retryAfter !== null) {
    seconds = /^\d+$/.test(retryAfter) ? Number(retryAfter) : Date.parse(retryAfter) / 1_000 - now
  } else if (reset !== null) {
    seconds = Number(reset) - now
  }
  if (!(seconds > COME_BACK_SECONDS)) return COME_BACK_SECONDS
  return Math.min(Math.ceil(seconds), LONGEST_PAUSE_SECONDS)
}
