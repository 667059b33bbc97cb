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

/** How a request got its token, or why it got none; for the access line and the metrics. */
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
   * Set where a refused token is being replaced. The gateway calls it when the replacement is refused as well, and the
   * upstream asks the user for more than any exchange of this subject token can bring.
   */
  asksForMore?: ((refusal: GatewayError) => void) | undefined
  /** No request waits for the exchange, or it is the second one of its request: all others go first. */
  readonly background?: boolean | undefined
  outcome: ExchangeOutcome | undefined
  /** The refresh token that the caller brought, on a route that redeems it. */
  readonly refreshToken?: string | undefined
  /** What replaced that refresh token. Set where the caller is to be told, even when the exchange fails. */
  succession?: Succession | undefined
  /** Set by a layer for those below it: the refresh token to send, and where to put the one that comes back. */
  readonly refresh?: Refresh | undefined
}

/** The successor of a caller's refresh token, as far as it is known when it is read. */
export interface Succession {
  /** The header that brought it, in lower case. */
  readonly header: string
  readonly successor: string | undefined
}

/** The refresh tokens of one request to the issuer: the one that it redeems, and the one that the answer brings. */
export interface Refresh {
  /** Redeemed instead of an exchange (RFC 6749, section 6). Undefined: an exchange, which may bring a refresh token. */
  readonly token: string | undefined
  /** Called right before the request is sent: from then on the issuer may have used the token, even if no answer comes. */
  sent(): void
  /** Called with the refresh token of the answer. The access token is checked only after this has resolved. */
  keep(refreshToken: string): void | Promise<void>
}

/** Answers synchronously where it can, so that the cached path does not pay for a promise. */
export type Exchange = (permit: Permit, ask: Ask) => IssuedToken | Promise<IssuedToken>

/**
 * Asks the issuer of the permit's subject token for the token that the route wants, as the API's client, and checks the
 * answer. Once sent, an exchange runs to its deadline, because the issuer has counted it. Does NOT keep, join or pace
 * anything, and does NOT answer routes that exchange nothing (see `unexchanged`). `close` ends the connections that show
 * certificates; the given `outbound` stays open.
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
    // The refresh token that was sent is spent, even if the access token fails its check.
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
