import { hash, timingSafeEqual } from 'node:crypto'
import type { Client, Route } from '../config/config.ts'
import type { MountedRequest } from '../gateway.ts'
import { refuse, type TokenForm } from './token-form.ts'

/**
 * Who asks, by the secret of an API's own client: in the header or in the form (RFC 6749, section 2.3.1). There may be
 * several where issuers have given one name twice, and one secret.
 *
 * @throws {TokenRefusal} `invalid_client`, `invalid_request` for two ways at once
 */
export function authenticateClient(
  { headers }: MountedRequest,
  form: TokenForm,
  routes: readonly Route[],
): readonly Client[] {
  const { id, secret } = presented(headers.authorization, form)
  const clients = routes
    .flatMap(({ authenticate: { apis } }) => apis.map((api) => api.client))
    .filter((client) => client !== undefined)
    .filter((client) => client.id === id && hasSecret(client, secret))
  if (clients.length === 0) refuse('invalid_client', 'the client is not known here')
  return clients
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
  if (secret !== undefined || (id !== undefined && id !== basic.id)) {
    refuse('invalid_request', 'a client must authenticate in one way only')
  }
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

/** Of one length, whatever was sent. */
function digest(text: string): Buffer {
  return hash('sha256', text, 'buffer')
}

function unauthenticated(): never {
  refuse('invalid_client', 'a client must authenticate')
}
