/**
 * The errors of the token endpoint and their statuses. RFC 6749, section 5.2, names most errors; the statuses are those of
 * Auth0, which answers 403 in cases where the RFC demands 400.
 */
const STATUS = {
  invalid_request: 400,
  unsupported_grant_type: 400,
  // RFC 9449, sections 5 and 8.
  invalid_dpop_proof: 400,
  use_dpop_nonce: 400,
  invalid_client: 401,
  invalid_grant: 403,
  unauthorized_client: 403,
  access_denied: 403,
  consent_required: 403,
  too_many_requests: 429,
  server_error: 500,
} as const satisfies Record<string, number>

export type RefusalCode = keyof typeof STATUS

/** An error of the token endpoint. Its message is the `error_description`. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly error: RefusalCode
  readonly status: number

  /** @param status Default: the usual status of the code. */
  constructor(error: RefusalCode, description: string, status: number = STATUS[error]) {
    super(description)
    this.error = error
    this.status = status
  }
}
