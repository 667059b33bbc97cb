import { CLIENT_CREDENTIALS_GRANT } from './grants/client-credentials.ts'
import { checkActor, type IssuedToken } from './issued.ts'
import type { TokenEndpoint } from './token-endpoint.ts'

/**
 * The API's own token, to be sent as `actor_token` (RFC 8693, section 2.1).
 *
 * @param deadline epoch milliseconds after which nobody waits for it any more
 * @throws {GatewayError} `exchange_misconfigured`, `exchange_unavailable`
 */
export type Actor = (deadline: number) => Promise<string>

/** Assumed where the answer names no lifetime. */
const DEFAULT_LIFETIME_MS = 300_000
const LARGEST_SKEW_MS = 30_000
const SKEW_SHARE = 0.1

/** Gets the token by the client credentials grant, once for all exchanges, and keeps it until shortly before it expires. */
export function createActor(endpoint: TokenEndpoint): Actor {
  let kept: { readonly value: string; readonly until: number } | undefined
  let asking: Promise<IssuedToken> | undefined

  async function ask(deadline: number): Promise<IssuedToken> {
    const sentAt = Date.now()
    const answer = await endpoint.request({
      grantType: CLIENT_CREDENTIALS_GRANT,
      form: new URLSearchParams(),
      about: 'client',
      timeoutMs: deadline - sentAt,
    })
    const token = checkActor(answer, DEFAULT_LIFETIME_MS, sentAt)
    const life = token.expiresAt - sentAt
    const until = token.expiresAt - Math.min(LARGEST_SKEW_MS, life * SKEW_SHARE)
    kept = { value: token.value, until }
    return token
  }

  return async (deadline) => {
    if (kept !== undefined && Date.now() < kept.until) return kept.value
    asking ??= ask(deadline).finally(() => (asking = undefined))
    return (await asking).value
  }
}
