/** Why a tenant could not be set up. */
export type ProvisionCode =
  /** The Management API refuses the credentials, or does not give the scopes. */
  | 'management_refused'
  /** It cannot be reached, or answers what nobody can use. */
  | 'management_unavailable'
  /** It refuses a change. */
  | 'change_refused'
  /** What the configuration says cannot be had from a tenant, or contradicts it. */
  | 'impossible'
  /** It was changed, and does not become what was asked for. */
  | 'unsettled'

/** An expected failure, for whoever sets a tenant up. Its message holds no secret. */
export class ProvisionError extends Error {
  override readonly name = 'ProvisionError'
  readonly code: ProvisionCode

  constructor(code: ProvisionCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Something else was faster: whoever reads again sees it. */
export class ConflictError extends ProvisionError {
  constructor(message: string) {
    super('change_refused', message)
  }
}
