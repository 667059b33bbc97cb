import { GatewayError } from '../errors.ts'

const LONGEST_REFRESH_TOKEN = 8_192

/**
 * The refresh token that a request brings in a header of that name, from its raw header lines; undefined where there is
 * no such header. Does NOT look at the token itself, which is the issuer's.
 *
 * @param header in lower case
 * @throws {GatewayError} `invalid_request` for more than one, and for what RFC 6749 (appendix A.17) allows in none
 */
export function broughtRefreshToken(
  rawHeaders: readonly string[],
  header: string,
): string | undefined {
  let found: string | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!
    if (name.length !== header.length || name.toLowerCase() !== header) continue
    if (found !== undefined) {
      throw new GatewayError('invalid_request', `there is more than one ${header} header`)
    }
    found = rawHeaders[index + 1]!
  }
  if (found === undefined) return undefined
  if (found.length > LONGEST_REFRESH_TOKEN || !/^[\x20-\x7e]+$/.test(found)) {
    throw new GatewayError('invalid_request', `the ${header} header holds no refresh token`)
  }
  return found
}
