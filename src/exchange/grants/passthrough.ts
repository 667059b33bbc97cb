import type { Permit } from '../../authorize/authorize.ts'
import { GatewayError } from '../../errors.ts'
import type { IssuedToken } from '../issued.ts'

/**
 * The subject token itself, for as long as it lives. Only where the route says so, and why: never in place of an exchange
 * that failed. The token was verified and authorized for this request; `expectAudience` is checked here.
 *
 * @throws {GatewayError} `not_permitted` where the token is not for that audience as well, or is bound to its caller (RFC
 *   9449, section 7.1; RFC 8705, section 3), who alone can prove possession of it
 */
export function passthrough({ subject, route }: Permit): IssuedToken {
  const { expectAudience } = route.exchange
  if (subject.confirmation !== undefined) {
    throw new GatewayError(
      'not_permitted',
      'an access token that is bound to its caller is of no use to the upstream',
    )
  }
  if (expectAudience !== undefined && ![subject.claims['aud']].flat().includes(expectAudience)) {
    throw new GatewayError('not_permitted', 'the access token is not for the upstream')
  }
  return {
    scheme: 'Bearer',
    // As it came: a token that its issuer encrypted stays encrypted on the way to the upstream.
    value: (subject.encrypted ?? subject).value,
    expiresAt: subject.expiresAt,
    scopes: [...subject.scopes],
  }
}
