import type { Client, Issuer } from '../config/config.ts'
import { type IntrospectionAnswer, SIGNED_ANSWER } from '../authenticate/introspected.ts'
import { GatewayError } from '../errors.ts'
import { createOutbound, type Identity, type Outbound } from '../outbound.ts'
import { PROFILES } from './profiles.ts'
import { createProve, type Prove, showsCertificate } from './prove.ts'
import { pauseOf } from './token-endpoint.ts'

export interface IntrospectionEndpointOptions {
  readonly issuer: Issuer
  /** One of the issuer's identifiers. */
  readonly identifier: string
  readonly client: Client
  /** The endpoint's URL, or that of its alias for clients with a certificate. Rejects while the issuer cannot be asked. */
  readonly urlOf: (
    endpoint: 'introspectionEndpoint' | 'mutualTlsIntrospectionEndpoint',
  ) => Promise<string>
  readonly outbound: Outbound
  /** Opens connections that show a certificate. Default: new ones, with the usual limits. */
  readonly presenting?: (identity: Identity) => Outbound
}

/** One client at one introspection endpoint. */
export interface IntrospectionEndpoint {
  /** @throws {GatewayError} `exchange_unavailable`, `exchange_misconfigured` */
  ask(token: string): Promise<IntrospectionAnswer>
  /** Closes the connections that show a certificate. */
  close(): Promise<void>
}

/** RFC 7662, section 2.1. The client authenticates as it does at the token endpoint. */
export function createIntrospectionEndpoint(
  options: IntrospectionEndpointOptions,
): IntrospectionEndpoint {
  const { issuer, identifier, client, urlOf, outbound, presenting = withIdentity } = options
  const shown = new Set<Outbound>()
  let known: { readonly url: string; readonly prove: Prove } | undefined

  async function access(): Promise<{ readonly url: string; readonly prove: Prove }> {
    const kind = showsCertificate(client)
      ? 'mutualTlsIntrospectionEndpoint'
      : 'introspectionEndpoint'
    const url = await urlOf(kind).catch((cause: unknown) => unavailable(cause))
    if (known?.url === url) return known
    const profile = PROFILES[issuer.profile]
    const shownBy = (identity: Identity): Outbound => {
      const own = presenting(identity)
      shown.add(own)
      return own
    }
    known = { url, prove: createProve(client, { profile, url, outbound, presenting: shownBy }) }
    return known
  }

  return {
    async ask(token) {
      const { url, prove } = await access()
      const { authenticate, clientId, outbound: over } = await prove()
      const body = new URLSearchParams({ token, token_type_hint: 'access_token' })
      const headers = new Headers({
        accept: `${SIGNED_ANSWER}, application/json;q=0.9`,
        'content-type': 'application/x-www-form-urlencoded',
      })
      const server = { issuer: identifier, introspection_endpoint: url }
      // Typed as synchronous, but where it signs an assertion it returns a promise.
      const done: unknown = authenticate(server, { client_id: clientId }, body, headers)
      await done
      const response = await over
        .fetch(url, { method: 'POST', headers: [...headers], body: body.toString() })
        .catch((cause: unknown) => unavailable(cause))
      assertAnswered(response)
      const [mediaType = ''] = (response.headers.get('content-type') ?? '').split(';')
      return { mediaType: mediaType.trim().toLowerCase(), text: await response.text() }
    },
    close: async () => {
      await Promise.allSettled(Array.from(shown, (own) => own.close()))
    },
  }
}

function withIdentity(identity: Identity): Outbound {
  return createOutbound({ identity })
}

/** RFC 7662, section 2.3: an invalid token is answered with 200 as well, so no other status is about the token. */
function assertAnswered({ status, headers }: Response): void {
  if (status === 200) return
  if (status === 429) {
    throw new GatewayError('exchange_unavailable', 'the issuer asks for fewer questions', {
      retryAfter: pauseOf(headers),
      throttled: true,
    })
  }
  const cause = new Error(`the introspection endpoint answered ${status}`)
  if (status < 400 || status >= 500 || status === 408) unavailable(cause)
  throw new GatewayError(
    'exchange_misconfigured',
    'the issuer does not answer the gateway questions about tokens',
    { cause },
  )
}

function unavailable(cause: unknown): never {
  throw new GatewayError('exchange_unavailable', 'the issuer cannot be asked about the token now', {
    cause,
    retryAfter: 1,
  })
}
