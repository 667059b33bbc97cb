import { GatewayError } from '../errors.ts'

/** A refusal in the words of RFC 6749, section 5.2, and RFC 8707, section 2. */
export class TokenRefusal extends GatewayError {
  readonly error: TokenError

  constructor(error: TokenError, detail: string, cause?: unknown) {
    super('invalid_request', detail, { cause })
    this.error = error
  }
}

export type TokenError =
  | 'invalid_request'
  | 'invalid_client'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_target'

/** @param cause for the log alone */
export function refuse(error: TokenError, detail: string, cause?: unknown): never {
  throw new TokenRefusal(error, detail, cause)
}

/** The parameters of a token request; those without a value count as left out (RFC 6749, section 3.2). */
export interface TokenForm {
  get(name: string): string | undefined
  /** @throws {TokenRefusal} `invalid_request` */
  required(name: string): string
  all(name: string): readonly string[]
}

/** RFC 8693, section 2.1: these parameters may come more than once. */
const REPEATABLE: ReadonlySet<string> = new Set(['audience', 'resource'])

/** @throws {TokenRefusal} `invalid_request` for a parameter that comes twice */
export function readForm(body: string): TokenForm {
  const values = new Map<string, string[]>()
  for (const [name, value] of new URLSearchParams(body)) {
    if (value === '') continue
    const before = values.get(name)
    if (before === undefined) values.set(name, [value])
    else if (REPEATABLE.has(name)) before.push(value)
    else refuse('invalid_request', 'a parameter comes more than once')
  }
  const get = (name: string): string | undefined => values.get(name)?.[0]
  return {
    get,
    required: (name) => get(name) ?? refuse('invalid_request', `${name} is missing`),
    all: (name) => values.get(name) ?? [],
  }
}
