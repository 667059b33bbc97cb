const ERRORS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  413: 'Payload Too Large',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
}

/**
 * A failure of the Management API, in Auth0's envelope. If Auth0's `errorCode` is not known from documents or recordings,
 * the code here repeats the message.
 */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly status: number
  readonly errorCode: string

  constructor(status: number, errorCode: string, message: string) {
    super(message)
    this.status = status
    this.errorCode = errorCode
  }

  /** A refusal of the token has `attributes` instead of a code. */
  body(): Readonly<Record<string, unknown>> {
    const { status: statusCode, message, errorCode } = this
    const error = ERRORS[statusCode] ?? 'Error'
    return statusCode === 401
      ? { statusCode, error, message, attributes: { error: message } }
      : { statusCode, error, message, errorCode }
  }
}

/** The payload's fields are valid, but do not fit together. */
export function invalidBody(message: string): never {
  throw new Failure(400, 'invalid_body', message)
}
