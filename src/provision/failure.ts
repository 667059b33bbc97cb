/** Why a tenant could not be set up. */
export type ProvisionCode =
  /** The Management API refuses the credentials, or does not give the scopes. */
  | 'management_refused'
  /** The Management API cannot be reached, or its answer cannot be used. */
  | 'management_unavailable'
  /** The Management API refuses a change. */
  | 'change_refused'
  /** The configuration demands something that Auth0 does not support, or contradicts the tenant. */
  | 'impossible'
  /** The tenant was changed, but differences remain. */
  | 'unsettled'

/** An expected failure, for the operator. Its message contains no secret. */
export class ProvisionError extends Error {
  override readonly name = 'ProvisionError'
  readonly code: ProvisionCode

  constructor(code: ProvisionCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Another change came first (409): reading again shows it. */
export class ConflictError extends ProvisionError {
  constructor(message: string) {
    super('change_refused', message)
  }
}
