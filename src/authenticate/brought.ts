import { GatewayError } from '../errors.ts'

const LONGEST_REFRESH_TOKEN = 8_192

/**
 * Reads the refresh token that a request brings in `header`, from its raw header lines; undefined without such a header.
 * Does NOT interpret the token: only its issuer can.
 *
 * @param header in lower case
 * @throws {GatewayError} `invalid_request` for more than one such header, for more than 8 192 characters, and for characters
 *   that RFC 6749 (appendix A.17) does not allow in a refresh token
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
