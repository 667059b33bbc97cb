import { GatewayError } from '../errors.ts'

/**
 * What came for one subject is not what was asked for: whether that is the target's fault, or this subject's alone, the others tell. A
 * user may have a name that no JSON should hold, or a token that is larger than what stands before the issuer takes.
 */
export class Unfit extends GatewayError {
  constructor(detail: string, cause: unknown) {
    super('exchange_misconfigured', detail, { cause })
  }
}
