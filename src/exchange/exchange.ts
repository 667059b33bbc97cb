import type { Permit } from '../authorize/authorize.ts'
import type { Api, Issuer } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { Outbound } from '../outbound.ts'
import { TOKEN_EXCHANGE_GRANT, tokenExchangeForm } from './grants/token-exchange.ts'
import { checkIssued, type IssuedToken } from './issued.ts'
import { PROFILES } from './profiles.ts'
import { createTokenEndpoint, type TokenEndpoint } from './token-endpoint.ts'

/** How a request's token was had, or why it was not, for the access line and the metrics. */
export type ExchangeOutcome = 'hit' | 'joined' | 'renewed' | 'miss' | 'refused' | 'shed'

/** What one request asks of the exchange beside its permit. Each layer may note what it did. */
export interface Ask {
  /** Aborted when the caller goes away. Created on first use: the cached path never needs it. */
  readonly signal: AbortSignal
  /** Epoch milliseconds after which nobody waits for the answer any more. */
  readonly deadline: number
  /** Do not answer with this token: the upstream refused it. */
  readonly instead?: IssuedToken | undefined
  /** Nobody waits for it, or it is a second one for the same request: those who wait go first. */
  readonly background?: boolean | undefined
  outcome: ExchangeOutcome | undefined
}

/** Answers at once where it can: the cached path pays for no promise. */
export type Exchange = (permit: Permit, ask: Ask) => IssuedToken | Promise<IssuedToken>

export interface ExchangeOptions {
  /** Where an issuer's token endpoint is, by one of its identifiers. */
  readonly tokenEndpointOf: (issuer: Issuer, identifier: string) => Promise<string>
  readonly outbound: Outbound
}

/**
 * Exchanges the permit's subject token at the issuer it came from, as the client that its API is, and checks what comes
 * back. Once it is sent an exchange runs to its deadline: its answer is paid for. Does NOT keep, join or pace anything.
 *
 * @throws {GatewayError} `invalid_token`, `exchange_denied`, `insufficient_user_authentication`,
 *   `exchange_misconfigured`, `exchange_unavailable`
 */
export function createExchange({ tokenEndpointOf, outbound }: ExchangeOptions): Exchange {
  const endpoints = new Map<string, TokenEndpoint>()

  async function endpointFor(api: Api, identifier: string): Promise<TokenEndpoint> {
    const url = await tokenEndpointOf(api.issuer, identifier).catch((cause: unknown) => {
      throw new GatewayError('exchange_unavailable', 'the token endpoint is not known', {
        cause,
        retryAfter: 1,
      })
    })
    const name = JSON.stringify([api.name, identifier, url])
    const known = endpoints.get(name)
    if (known !== undefined) return known
    if (api.client === undefined) throw new TypeError(`the API ${api.name} has no client`)
    const profile = PROFILES[api.issuer.profile]
    const made = createTokenEndpoint({
      issuer: identifier,
      url,
      client: api.client,
      profile,
      outbound,
    })
    endpoints.set(name, made)
    return made
  }

  return async (permit, { signal, deadline }) => {
    const { subject } = permit
    const profile = PROFILES[subject.api.issuer.profile]
    const endpoint = await endpointFor(subject.api, subject.issuer)
    signal.throwIfAborted()
    const sentAt = Date.now()
    const answer = await endpoint.request({
      grantType: TOKEN_EXCHANGE_GRANT,
      form: tokenExchangeForm(permit, profile),
      timeoutMs: deadline - sentAt,
    })
    return checkIssued(answer, permit, profile, sentAt)
  }
}
