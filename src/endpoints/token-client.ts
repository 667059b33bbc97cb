import { hash, timingSafeEqual } from 'node:crypto'
import type { AssertionUse } from '../authenticate/assertion.ts'
import type { Client, TokenEndpointConfig } from '../config/config.ts'
import type { MountedRequest } from '../gateway.ts'
import { createWhoSigned, inOneWayOnly, notKnown, presentedAssertion } from './client-assertion.ts'
import { refuse, type TokenForm } from './token-form.ts'

/** The clients that ask: several where issuers gave one client id twice, with the same secret or key. */
export interface KnownClient {
  readonly clients: readonly Client[]
  /** Set for an assertion: it must be used up before anything is done for the client. */
  readonly use?: AssertionUse
}

/**
 * Authenticates the client that asks: by the secret of an API's own client, in the header or in the form (RFC 6749, section
 * 2.3.1), or by an assertion (RFC 7523, section 2.2). Each client is authenticated in the way that it is configured for, and
 * in no other.
 *
 * @throws {TokenRefusal} `invalid_client`, `invalid_request` for two ways at once
 */
export type AuthenticateClient = (request: MountedRequest, form: TokenForm) => KnownClient

/** @param audiences what the `aud` of assertions may be */
export function createAuthenticateClient(
  { routes, callerKeys }: Pick<TokenEndpointConfig, 'routes' | 'callerKeys'>,
  audiences: readonly string[],
): AuthenticateClient {
  const whoSigned = createWhoSigned(callerKeys, audiences)
  const withSecret = routes
    .flatMap(({ authenticate: { apis } }) => apis)
    .flatMap((api) => (callerKeys.has(api) ? [] : (api.client ?? [])))
  return ({ headers: { authorization } }, form) => {
    const assertion = presentedAssertion(authorization, form)
    if (assertion !== undefined) return whoSigned(assertion, form.get('client_id'))
    const { id, secret } = presented(authorization, form)
    const clients = withSecret.filter((client) => client.id === id && hasSecret(client, secret))
    return clients.length === 0 ? notKnown() : { clients }
  }
}

function hasSecret(client: Client, secret: string): boolean {
  return 'secret' in client && timingSafeEqual(digest(client.secret), digest(secret))
}

interface ClientCredentials {
  readonly id: string
  readonly secret: string
}

function presented(authorization: string | undefined, form: TokenForm): ClientCredentials {
  const id = form.get('client_id')
  const secret = form.get('client_secret')
  if (authorization === undefined) {
    if (id === undefined || secret === undefined) unauthenticated()
    return { id, secret }
  }
  const basic = basicCredentials(authorization)
  if (secret !== undefined || (id !== undefined && id !== basic.id)) inOneWayOnly()
  return basic
}

function basicCredentials(authorization: string): ClientCredentials {
  const [, encoded = ''] = /^basic +([A-Za-z0-9+/]+=*)$/i.exec(authorization) ?? []
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 0) unauthenticated()
  return { id: formDecoded(text.slice(0, colon)), secret: formDecoded(text.slice(colon + 1)) }
}

/** Both parts are form-encoded before they are joined. */
function formDecoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return unauthenticated()
  }
}

/** `timingSafeEqual` needs two values of one length. */
function digest(text: string): Buffer {
  return hash('sha256', text, 'buffer')
}

function unauthenticated(): never {
  refuse('invalid_client', 'a client must authenticate')
}
