/**
 * Why the token endpoint says no, and with which status. RFC 6749, section 5.2 names most of them; the statuses are
 * Auth0's, which answers 403 where the RFC would answer 400.
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

/** A decision of the token endpoint. Its message is the `error_description`. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly error: RefusalCode
  readonly status: number

  /** @param status Default: what the code usually goes with. */
  constructor(error: RefusalCode, description: string, status: number = STATUS[error]) {
    super(description)
    this.error = error
    this.status = status
  }
}
