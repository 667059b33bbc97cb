import type { Permit } from '../authorize/authorize.ts'
import { type AccessOptions, createAccesses } from './access.ts'
import { CLIENT_CREDENTIALS_GRANT, clientCredentialsForm } from './grants/client-credentials.ts'
import { JWT_BEARER_GRANT, jwtBearerForm } from './grants/jwt-bearer.ts'
import { REFRESH_TOKEN_GRANT, refreshTokenForm } from './grants/refresh-token.ts'
import { TOKEN_EXCHANGE_GRANT, tokenExchangeForm } from './grants/token-exchange.ts'
import type { GatewayError } from '../errors.ts'
import { checkIssued, type IssuedToken } from './issued.ts'
import { withParameters } from './parameters.ts'
import { REFRESH_PATIENCE_MS } from './patience.ts'
import { PROFILES, type Profile } from './profiles.ts'
import type { TokenRequest } from './token-endpoint.ts'

/** How a request's token was had, or why it was not, for the access line and the metrics. */
export type ExchangeOutcome = 'hit' | 'joined' | 'renewed' | 'shared' | 'miss' | 'refused' | 'shed'

/** What one request asks of the exchange beside its permit. Each layer may note what it did. */
export interface Ask {
  /** Aborted when the caller goes away. Created on first use: the cached path never needs it. */
  readonly signal: AbortSignal
  /** Epoch milliseconds after which nobody waits for the answer any more. */
  readonly deadline: number
  /** Do not answer with this token: the upstream refused it. */
  readonly instead?: IssuedToken | undefined
  /**
   * Set where a token was asked for in the place of another: to be called where the upstream asks the user for more than any
   * token that the subject token brings.
   */
  asksForMore?: ((refusal: GatewayError) => void) | undefined
  /** Nobody waits for it, or it is a second one for the same request: those who wait go first. */
  readonly background?: boolean | undefined
  outcome: ExchangeOutcome | undefined
  /** The refresh token that the caller brought, on a route that redeems it. */
  readonly refreshToken?: string | undefined
  /** What became of it. Set for a caller that is to be told, whatever the exchange comes to. */
  succession?: Succession | undefined
  /** Between the layers: what refresh tokens have to do with what is sent. */
  readonly refresh?: Refresh | undefined
}

/** What replaced a caller's refresh token, as far as it is known at the moment of looking. */
export interface Succession {
  /** The header that brought it, in lower case. */
  readonly header: string
  readonly successor: string | undefined
}

/** One request's refresh tokens: the one that it redeems, and the one that it brings. */
export interface Refresh {
  /** Redeemed in the place of an exchange (RFC 6749, section 6). Undefined: an exchange, and see what comes with it. */
  readonly token: string | undefined
  /** From here on it may have been used, whatever is heard of it. */
  sent(): void
  /** What came for the next time. The access token beside it is looked at when this is done. */
  keep(refreshToken: string): void | Promise<void>
}

/** Answers at once where it can: the cached path pays for no promise. */
export type Exchange = (permit: Permit, ask: Ask) => IssuedToken | Promise<IssuedToken>

/**
 * Asks the issuer that the permit's subject token came from for the token that the route wants, as the client that the
 * API is, and checks what comes back. Once it is sent an exchange runs to its deadline: its answer is paid for. Does NOT
 * keep, join or pace anything, and does NOT know routes that exchange nothing (see `unexchanged`). To be closed where any
 * client shows a certificate; the `outbound` that is given is not its own to close.
 *
 * @throws {GatewayError} `invalid_token`, `exchange_denied`, `insufficient_user_authentication`,
 *   `exchange_misconfigured`, `exchange_unavailable`
 */
export function createExchange(options: AccessOptions): Exchange & { close(): Promise<void> } {
  const accesses = createAccesses(options)
  const exchangeOnce: Exchange = async (permit, { signal, deadline, refresh }) => {
    const { subject, route } = permit
    const { exchange } = route
    const isRefresh = refresh?.token !== undefined
    const profile = PROFILES[subject.api.issuer.profile]
    const { endpoint, actor } = await accesses.for(permit)
    signal.throwIfAborted()
    const delegates = !isRefresh && exchange.grant === 'token-exchange' && exchange.delegation
    const actorToken = delegates ? await actor(deadline) : undefined
    signal.throwIfAborted()
    const { form, ...request } = isRefresh
      ? refreshRequest(permit, profile, refresh.token)
      : requestOf(permit, profile, actorToken)
    const sentAt = Date.now()
    refresh?.sent()
    const answer = await endpoint.request({
      ...request,
      form: withParameters(form, exchange.parameters),
      timeoutMs: isRefresh ? REFRESH_PATIENCE_MS : deadline - sentAt,
    })
    // Whatever the access token turns out to be, the refresh token is spent.
    if (answer.refreshToken !== undefined) await refresh?.keep(answer.refreshToken)
    return checkIssued(answer, permit, profile, sentAt, isRefresh)
  }
  return Object.assign(exchangeOnce, { close: accesses.close })
}

function refreshRequest(
  permit: Permit,
  profile: Profile,
  refreshToken: string,
): Omit<TokenRequest, 'timeoutMs'> {
  const form = refreshTokenForm(permit, profile, refreshToken)
  return { grantType: REFRESH_TOKEN_GRANT, form, about: 'refresh token' }
}

/** What each grant sends, without client authentication and the route's own `parameters`. Pure. */
export function requestOf(
  permit: Permit,
  profile: Profile,
  actorToken: string | undefined,
): Omit<TokenRequest, 'timeoutMs'> {
  const { grant } = permit.route.exchange
  switch (grant) {
    case 'token-exchange':
      return {
        grantType: TOKEN_EXCHANGE_GRANT,
        form: tokenExchangeForm(permit, profile, actorToken),
        about: 'subject',
      }
    case 'jwt-bearer':
      return {
        grantType: JWT_BEARER_GRANT,
        form: jwtBearerForm(permit, profile),
        about: 'subject',
      }
    case 'client-credentials':
      return {
        grantType: CLIENT_CREDENTIALS_GRANT,
        form: clientCredentialsForm(permit),
        about: 'client',
      }
    default:
      throw new TypeError(`nothing is sent with the grant ${grant}`)
  }
}
