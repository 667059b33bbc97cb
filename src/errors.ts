/** Every failure that a caller can meet, with its status and a fixed title. One line each. */
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
  /** The error that led to this one. It is logged, and never shown to the caller. */
  readonly cause?: unknown
  /** After how many whole seconds the caller may try again (`Retry-After`). */
  readonly retryAfter?: number
  /** Whether the issuer asked the gateway to slow down (429). Default false. */
  readonly throttled?: boolean
  /** The scopes that were needed (RFC 6750, section 3). */
  readonly scopes?: readonly string[]
  /** The methods that the target takes (RFC 9110, section 10.2.1). */
  readonly allow?: readonly string[]
  /** What the user's next authentication must fulfil. */
  readonly stepUp?: StepUp
  /** The nonce that the next proof must name (RFC 9449, section 9). */
  readonly dpopNonce?: string
}

/** The requirements of a step-up challenge (RFC 9470, section 3). */
export interface StepUp {
  /** Acceptable values of `acr`, the preferred first. One of them is enough. */
  readonly acrValues?: readonly string[]
  /** How long ago the user may have authenticated, in seconds. */
  readonly maxAge?: number
  /** The claims that Microsoft Entra ID asks for: JSON, as it sent them. */
  readonly claims?: string
  /** The authorization endpoint where Microsoft Entra ID lets the user authenticate again. */
  readonly authorizationUri?: string
}

/**
 * An error that belongs to normal operation. It captures no stack trace: its code already says where it comes from, and
 * callers could cause thousands of costly traces.
 */
export class ExpectedEnd extends Error {
  constructor(message: string, options?: ErrorOptions) {
    const { stackTraceLimit } = Error
    limitStacks(0)
    super(message, options)
    limitStacks(stackTraceLimit)
  }
}

/** Runs a function whose own errors belong to normal operation: they capture no stack traces either. */
export function withoutStacks(run: () => void): void {
  const { stackTraceLimit } = Error
  limitStacks(0)
  try {
    run()
  } finally {
    limitStacks(stackTraceLimit)
  }
}

/** An assignment would throw where `Error` is frozen (`--frozen-intrinsics`): there, stack traces stay. */
function limitStacks(frames: number): void {
  Reflect.set(Error, 'stackTraceLimit', frames)
}

/** An expected failure. Its message is shown to the caller and holds nothing secret; its cause is for the log. */
export class GatewayError extends ExpectedEnd {
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

/** Any error that is not an expected failure is a defect of the gateway: the caller is told `internal_error` and no more. */
export function asGatewayError(error: unknown): GatewayError {
  return error instanceof GatewayError
    ? error
    : new GatewayError('internal_error', 'an unexpected error occurred', { cause: error })
}

/** What the challenges say about the API that refused a request. */
export interface Protection {
  /** The schemes that the API takes. At least one. */
  readonly schemes: readonly ('Bearer' | 'DPoP')[]
  /** The scheme that the caller used: the error is named in the challenge for it (RFC 9449, section 7.2). */
  readonly tried: 'Bearer' | 'DPoP'
  /** The signature algorithms that the API takes in proofs (RFC 9449, section 7.1). */
  readonly proofAlgorithms?: readonly string[] | undefined
  /** The URL of the API's metadata (RFC 9728, section 5.1). */
  readonly metadataUri?: string | undefined
}

const BEARER: Protection = { schemes: ['Bearer'], tried: 'Bearer' }

export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * Renders a failure as `application/problem+json` (RFC 9457), with its headers. Nothing else does. Pure.
 *
 * @param protections one for each API that the token could have been for. Default: an API that takes Bearer tokens
 */
export function errorAnswer(
  error: GatewayError,
  requestId: string,
  protections: readonly Protection[] = [BEARER],
): ErrorAnswer {
  const headers: Record<string, string> = {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
  }
  if (error.status === 401 || error.status === 403) {
    headers['www-authenticate'] = challengesOf(error, protections)
  }
  if (error.dpopNonce !== undefined) headers['dpop-nonce'] = error.dpopNonce
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
  // The newline is for people who read the answer in a terminal.
  return { status: error.status, headers, body: `${body}\n` }
}

/** The codes that RFC 6750 (section 3.1), RFC 9449 (sections 7.1 and 9) and RFC 9470 (section 3) define. */
const NAMED_IN_CHALLENGE: ReadonlySet<ErrorCode> = new Set([
  'invalid_token',
  'insufficient_scope',
  'insufficient_user_authentication',
  'invalid_dpop_proof',
  'use_dpop_nonce',
])

/** Codes that only DPoP challenges carry: they mean nothing to callers without a proof. */
const OF_PROOFS: ReadonlySet<ErrorCode> = new Set(['invalid_dpop_proof', 'use_dpop_nonce'])

/** One challenge for each scheme of each API. Equal ones are sent once. */
function challengesOf(error: GatewayError, protections: readonly Protection[]): string {
  const isOfProofs = OF_PROOFS.has(error.code)
  const challenges = new Set<string>()
  for (const protection of protections) {
    const schemes = isOfProofs ? (['DPoP'] as const) : protection.schemes
    // Where the API does not take the scheme that the caller used, its first scheme's challenge names the error.
    const blamed = schemes.find((scheme) => scheme === protection.tried) ?? schemes[0]
    for (const scheme of schemes) {
      challenges.add(challenge(scheme, scheme === blamed ? error : undefined, protection))
    }
  }
  return [...challenges].join(', ')
}

function challenge(
  scheme: 'Bearer' | 'DPoP',
  error: GatewayError | undefined,
  { proofAlgorithms, metadataUri }: Protection,
): string {
  const parameters = error === undefined ? [] : errorParameters(error)
  if (scheme === 'DPoP' && proofAlgorithms !== undefined) {
    parameters.push(['algs', proofAlgorithms.join(' ')])
  }
  if (metadataUri !== undefined) parameters.push(['resource_metadata', metadataUri])
  if (parameters.length === 0) return scheme
  return `${scheme} ${parameters.map(([name, value]) => `${name}="${quotable(value)}"`).join(', ')}`
}

/**
 * RFC 6750, section 3.1: the challenge to a request without a token names no error. Other refusals name one only where an
 * RFC defines it (`NAMED_IN_CHALLENGE`), or else a client could mistake a policy of the route for a lack of scope.
 */
function errorParameters({ code, message, scopes, stepUp }: GatewayError): [string, string][] {
  if (!NAMED_IN_CHALLENGE.has(code)) return []
  // Microsoft's own dialect: clients that understand its `claims` look for them beside this error only.
  const name = stepUp?.claims === undefined ? code : 'insufficient_claims'
  const parameters: [string, string][] = [
    ['error', name],
    ['error_description', message],
  ]
  if (scopes !== undefined) parameters.push(['scope', scopes.join(' ')])
  if (stepUp === undefined) return parameters
  const { acrValues = [], maxAge, claims, authorizationUri } = stepUp
  if (acrValues.length > 0) parameters.push(['acr_values', acrValues.join(' ')])
  if (maxAge !== undefined) parameters.push(['max_age', String(Math.floor(maxAge))])
  if (authorizationUri !== undefined) parameters.push(['authorization_uri', authorizationUri])
  if (claims !== undefined) parameters.push(['claims', Buffer.from(claims).toString('base64')])
  return parameters
}

/** Replaces the characters that RFC 6750, section 3, does not allow in these parameters. */
function quotable(text: string): string {
  return text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'")
}
