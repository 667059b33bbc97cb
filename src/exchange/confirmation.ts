import { hash } from 'node:crypto'
import type { Bound } from '../config/config.ts'
import type { ClientIdentity } from './identity.ts'
import type { TokenAnswer } from './token-endpoint.ts'

/** How a token is sent: its scheme, and what proves that it is the gateway's. */
export interface Confirmed {
  readonly scheme: 'Bearer' | 'DPoP'
  /**
   * For scheme `DPoP`: makes the proof that goes with the token in one request, and in no other (RFC 9449, section 7.1).
   *
   * @param url of the request; its query is left out
   * @param nonce the one that this server gave last
   */
  readonly prove?: ((method: string, url: string, nonce?: string) => string) | undefined
  /** For a token that is bound to a certificate: the one that its connection must show (RFC 8705, section 3). */
  readonly identity?: ClientIdentity | undefined
}

/**
 * Checks that a token is bound to what the route wants it bound to, and to nothing else: by `token_type`, and where the
 * token can be read by its `cnf` (RFC 7800). An issuer that ignores a proof answers with a bearer token and says nothing: a
 * route with `bound` refuses that. A token that is bound although the route did not ask is refused as well, because the
 * gateway cannot tell to what.
 *
 * A token that cannot be read does not show its certificate: `mtls` refuses it. For `dpop` its `token_type` is enough.
 *
 * @param claims undefined where the token cannot be read
 * @returns how the token is sent, or in `wrong` the member that is not as it should be
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

/** Whether `cnf` holds this member alone: a second one is a second condition, which the gateway would not meet. */
function says(cnf: unknown, member: string, thumbprint: string | undefined): boolean {
  if (typeof cnf !== 'object' || cnf === null || thumbprint === undefined) return false
  const [only, ...others] = Object.entries(cnf) as [string, unknown][]
  return only?.[0] === member && only[1] === thumbprint && others.length === 0
}
