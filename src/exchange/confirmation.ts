import { hash } from 'node:crypto'
import type { Bound } from '../config/config.ts'
import type { ClientIdentity } from './identity.ts'
import type { TokenAnswer } from './token-endpoint.ts'

/** What a token is sent with: its scheme, and what shows that it is ours. */
export interface Confirmed {
  readonly scheme: 'Bearer' | 'DPoP'
  /**
   * Of a token of scheme `DPoP`: what goes with it in one request, and in no other (RFC 9449, section 7.1).
   *
   * @param url its query does not matter
   * @param nonce what this server gave last
   */
  readonly prove?: ((method: string, url: string, nonce?: string) => string) | undefined
  /** Of a token that is bound to a certificate: what its connection must show (RFC 8705, section 3). */
  readonly identity?: ClientIdentity | undefined
}

/**
 * Whether a token is bound to what the route wants it bound to, and to nothing else: `token_type`, and where the token can
 * be read its `cnf` (RFC 7800). Issuers answer a request without a proof, or with one that they pass over, by a bearer
 * token, and say nothing: such a token is not for a route with `bound`. One that is bound although nobody asked is of no
 * use to whoever cannot tell to what.
 *
 * A token that cannot be read tells nothing of a certificate, and is refused with `mtls`; of a proof its type tells.
 *
 * @param claims undefined where the token cannot be read
 * @returns undefined, and in `wrong` what it is that is not as it should be
 */
export function confirmed(
  answer: Pick<TokenAnswer, 'tokenType' | 'accessToken' | 'key' | 'identity'>,
  claims: Readonly<Record<string, unknown>> | undefined,
  bound: Bound | undefined,
): Confirmed | { readonly wrong: 'token_type' | 'cnf' } {
  const { tokenType, accessToken, key, identity } = answer
  if (tokenType !== (bound === 'dpop' ? 'dpop' : 'bearer')) return { wrong: 'token_type' }
  const cnf = claims?.['cnf']
  switch (bound) {
    case undefined:
      return cnf === undefined ? { scheme: 'Bearer' } : { wrong: 'cnf' }
    case 'dpop': {
      const isOurs = claims === undefined || says(cnf, 'jkt', key?.thumbprint)
      if (key === undefined || !isOurs) return { wrong: 'cnf' }
      const ath = hash('sha256', accessToken, 'base64url')
      return {
        scheme: 'DPoP',
        prove: (method, url, nonce) => key.proof({ method, url, nonce, ath }),
      }
    }
    case 'mtls': {
      const isOurs = says(cnf, 'x5t#S256', identity?.thumbprint)
      return isOurs ? { scheme: 'Bearer', identity } : { wrong: 'cnf' }
    }
  }
}

/** Nothing but this: a second member is a second condition, which nobody here would meet. */
function says(cnf: unknown, member: string, thumbprint: string | undefined): boolean {
  if (typeof cnf !== 'object' || cnf === null || thumbprint === undefined) return false
  const [only, ...others] = Object.entries(cnf) as [string, unknown][]
  return only?.[0] === member && only[1] === thumbprint && others.length === 0
}
