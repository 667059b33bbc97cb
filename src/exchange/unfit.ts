import { GatewayError } from '../errors.ts'

/**
 * The answer for one subject is not what was asked for. Whether the target is to blame, or this subject alone, shows when
 * others are exchanged: a user's name may break the issuer's JSON, or the token may be too large for the issuer's proxy.
 */
export class Unfit extends GatewayError {
  constructor(detail: string, cause: unknown) {
    super('exchange_misconfigured', detail, { cause })
  }
}
