/** Every failure a caller can meet: its status, and a title that never changes. One line each. */
const FAILURES = {
  missing_token: [401, 'No access token was presented'],
  invalid_request: [400, 'The request is malformed'],
  invalid_token: [401, 'The access token is not valid'],
  invalid_dpop_proof: [401, 'The DPoP proof is not valid'],
  use_dpop_nonce: [401, 'The DPoP proof must name the nonce'],
  insufficient_user_authentication: [401, 'The user must authenticate more strongly'],
  insufficient_scope: [403, 'The access token lacks a scope'],
  not_permitted: [403, 'The access token is of a kind that this route does not permit'],
  exchange_denied: [403, 'The issuer refused to exchange the access token'],
  invalid_request_target: [400, 'The request target is ambiguous'],
  route_not_found: [404, 'No route matches the request'],
  method_not_allowed: [405, 'The route does not take this method'],
  request_timeout: [408, 'The request took too long to arrive'],
  content_too_large: [413, 'The request body is too large'],
  expectation_failed: [417, 'The expectation is not supported'],
  rate_limited: [429, 'Too many requests'],
  headers_too_large: [431, 'The request headers are too large'],
  exchange_misconfigured: [502, 'The gateway is not set up to exchange this access token'],
  upstream_rejected_token: [502, 'The upstream rejected the issued token'],
  upstream_unavailable: [502, 'The upstream did not answer'],
  upstream_timeout: [504, 'The upstream did not answer in time'],
  keys_unavailable: [503, "The issuer's keys are unavailable"],
  exchange_unavailable: [503, 'The issuer is unavailable'],
  replay_store_unavailable: [503, 'Replayed proofs cannot be told'],
  overloaded: [503, 'The gateway is overloaded'],
  internal_error: [500, 'The gateway failed'],
} as const satisfies Record<string, readonly [number, string]>

export type ErrorCode = keyof typeof FAILURES

/** All codes, for documentation and metrics. */
export const ERROR_CODES = Object.keys(FAILURES) as readonly ErrorCode[]

export interface GatewayErrorOptions {
  /** What went wrong underneath. For the log, never for the caller. */
  readonly cause?: unknown
  /** When to come back, in whole seconds. */
  readonly retryAfter?: number
  /** Somebody told us to slow down. Default false. */
  readonly throttled?: boolean
  /** The scopes that were needed (RFC 6750, section 3). */
  readonly scopes?: readonly string[]
  /** The methods that the target takes (RFC 9110, section 10.2.1). */
  readonly allow?: readonly string[]
  /** What the next authentication of the user must be like. */
  readonly stepUp?: StepUp
  /** The nonce that the next proof must name (RFC 9449, section 9). */
  readonly dpopNonce?: string
}

/** RFC 9470, section 3. */
export interface StepUp {
  /** One of them is enough, the first preferred. */
  readonly acrValues?: readonly string[]
  /** The longest that it may be ago, in seconds. */
  readonly maxAge?: number
  /** The claims that Microsoft Entra ID asks for: JSON, as its issuer sent it. */
  readonly claims?: string
}

/** An expected failure. Its message is for the caller and holds nothing secret; its cause is for the log. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: ErrorCode
  readonly status: number
  readonly retryAfter: number | undefined
  readonly throttled: boolean
  readonly scopes: readonly string[] | undefined
  readonly allow: readonly string[] | undefined
  readonly stepUp: StepUp | undefined
  readonly dpopNonce: string | undefined

  constructor(code: ErrorCode, detail: string, options: GatewayErrorOptions = {}) {
    super(detail, { cause: options.cause })
    this.code = code
    this.status = FAILURES[code][0]
    this.retryAfter = options.retryAfter
    this.throttled = options.throttled ?? false
    this.scopes = options.scopes
    this.allow = options.allow
    this.stepUp = options.stepUp
    this.dpopNonce = options.dpopNonce
  }
}

/** Anything that is not an expected failure is a defect of ours: the caller learns no more than that. */
export function asGatewayError(error: unknown): GatewayError {
  return error instanceof GatewayError
    ? error
    : new GatewayError('internal_error', 'an unexpected error occurred', { cause: error })
}

export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The one rendering of a failure: `application/problem+json` (RFC 9457) and its headers. Pure. */
export function errorAnswer(error: GatewayError, requestId: string): ErrorAnswer {
  const headers: Record<string, string> = {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
  }
  const challenge = challengeOf(error)
  if (challenge !== undefined) headers['www-authenticate'] = challenge
  if (error.retryAfter !== undefined) headers['retry-after'] = String(error.retryAfter)
  if (error.allow !== undefined) headers['allow'] = error.allow.join(', ')
  const body = JSON.stringify({
    type: `urn:behalf:problem:${error.code}`,
    title: FAILURES[error.code][1],
    status: error.status,
    detail: error.message,
    code: error.code,
    request_id: requestId,
  })
  // For whoever reads it in a terminal.
  return { status: error.status, headers, body: `${body}\n` }
}

/** RFC 6750, section 3.1, and RFC 9470, section 3. */
const NAMED_IN_CHALLENGE: ReadonlySet<ErrorCode> = new Set([
  'invalid_token',
  'insufficient_scope',
  'insufficient_user_authentication',
])

/**
 * RFC 6750, section 3.1: a request without a token is told nothing more than "Bearer". The other refusals name an
 * error only where that section defines one, so that no client mistakes a policy of ours for a lack of scope.
 */
function challengeOf({ code, status, message, scopes }: GatewayError): string | undefined {
  if (status !== 401 && status !== 403) return undefined
  if (!NAMED_IN_CHALLENGE.has(code)) return 'Bearer'
  const parameters = [`error="${code}"`, `error_description="${quotable(message)}"`]
  if (scopes !== undefined) parameters.push(`scope="${quotable(scopes.join(' '))}"`)
  return `Bearer ${parameters.join(', ')}`
}

/** RFC 6750, section 3: the characters that these parameters may hold. */
function quotable(text: string): string {
  return text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'")
}
