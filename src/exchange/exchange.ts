import type { Permit } from '../authorize/authorize.ts'
import type { Api, Bound, Issuer } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import { createOutbound, type Identity, type Outbound } from '../outbound.ts'
import { createActor, type Actor } from './actor.ts'
import { keyToBind } from './binding.ts'
import { Nonces } from './dpop.ts'
import { CLIENT_CREDENTIALS_GRANT, clientCredentialsForm } from './grants/client-credentials.ts'
import { JWT_BEARER_GRANT, jwtBearerForm } from './grants/jwt-bearer.ts'
import { TOKEN_EXCHANGE_GRANT, tokenExchangeForm } from './grants/token-exchange.ts'
import { checkIssued, type IssuedToken } from './issued.ts'
import { withParameters } from './parameters.ts'
import { PROFILES, type Profile } from './profiles.ts'
import { createProve, showsCertificate } from './prove.ts'
import { createTokenEndpoint, type TokenEndpoint, type TokenRequest } from './token-endpoint.ts'

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
  /** Where an issuer's token endpoint is, by one of its identifiers: the one for clients with a certificate, if asked. */
  readonly tokenEndpointOf: (
    issuer: Issuer,
    identifier: string,
    endpoint: 'tokenEndpoint' | 'mutualTlsTokenEndpoint',
  ) => Promise<string>
  readonly outbound: Outbound
  /** Connections that show a certificate. Default: of their own, with the limits of all. */
  readonly presenting?: (identity: Identity) => Outbound
}

/**
 * Asks the issuer that the permit's subject token came from for the token that the route wants, as the client that the
 * API is, and checks what comes back. Once it is sent an exchange runs to its deadline: its answer is paid for. Does NOT
 * keep, join or pace anything, and does NOT know routes that exchange nothing (see `unexchanged`). To be closed where any
 * client shows a certificate; the `outbound` that is given is not its own to close.
 *
 * @throws {GatewayError} `invalid_token`, `exchange_denied`, `insufficient_user_authentication`,
 *   `exchange_misconfigured`, `exchange_unavailable`
 */
export function createExchange(options: ExchangeOptions): Exchange & { close(): Promise<void> } {
  const { tokenEndpointOf, outbound, presenting = withIdentity } = options
  const access = new Map<string, Access>()
  const nonces = new Nonces()
  const shown = new Set<Outbound>()

  function shownBy(identity: Identity): Outbound {
    const own = presenting(identity)
    shown.add(own)
    return own
  }

  async function accessFor(api: Api, identifier: string, bound?: Bound): Promise<Access> {
    const { client, issuer } = api
    if (client === undefined) throw new TypeError(`the API ${api.name} has no client`)
    const shows = showsCertificate(client, bound === 'mtls')
    const kind = shows ? 'mutualTlsTokenEndpoint' : 'tokenEndpoint'
    const url = await tokenEndpointOf(issuer, identifier, kind).catch((cause: unknown) => {
      throw new GatewayError('exchange_unavailable', 'the token endpoint is not known', {
        cause,
        retryAfter: 1,
      })
    })
    const name = JSON.stringify([api.name, identifier, url, bound])
    const known = access.get(name)
    if (known !== undefined) return known
    const profile = PROFILES[issuer.profile]
    const prove = createProve(client, { profile, url, outbound, presenting: shownBy, shows })
    const dpop = bound === 'dpop' ? { key: () => keyToBind(client), nonces } : undefined
    const endpoint = createTokenEndpoint({ issuer: identifier, url, profile, prove, dpop })
    const made = { endpoint, actor: createActor(endpoint) }
    access.set(name, made)
    return made
  }

  const exchangeOnce: Exchange = async (permit, { signal, deadline }) => {
    const { subject, route } = permit
    const { exchange } = route
    const profile = PROFILES[subject.api.issuer.profile]
    const { endpoint, actor } = await accessFor(subject.api, subject.issuer, exchange.bound)
    signal.throwIfAborted()
    const delegates = exchange.grant === 'token-exchange' && exchange.delegation
    const actorToken = delegates ? await actor(deadline) : undefined
    signal.throwIfAborted()
    const { form, ...request } = requestOf(permit, profile, actorToken)
    const sentAt = Date.now()
    const answer = await endpoint.request({
      ...request,
      form: withParameters(form, exchange.parameters),
      timeoutMs: deadline - sentAt,
    })
    return checkIssued(answer, permit, profile, sentAt)
  }
  return Object.assign(exchangeOnce, {
    close: async () => {
      // Where the certificate changed, the connections that showed the old one are closed already.
      await Promise.allSettled(Array.from(shown, (own) => own.close()))
    },
  })
}

function withIdentity(identity: Identity): Outbound {
  return createOutbound({ identity })
}

/** One client at one token endpoint. */
interface Access {
  readonly endpoint: TokenEndpoint
  readonly actor: Actor
}

/** What each grant sends. */
function requestOf(
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
      return { grantType: JWT_BEARER_GRANT, form: jwtBearerForm(permit), about: 'subject' }
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
