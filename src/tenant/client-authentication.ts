import { createHash, timingSafeEqual } from 'node:crypto'
import type { Form } from './form.ts'
import { Refusal } from './refusal.ts'
import { createVerifyAssertion, type AssertionsOptions } from './assertion.ts'
import type { Client } from './client.ts'
import type { State } from './state.ts'

interface Credentials {
  readonly id: string
  readonly secret: string | undefined
}

/**
 * Authenticates the client: by `client_secret_basic` or `client_secret_post` (RFC 6749, section 2.3.1), `private_key_jwt`
 * (RFC 7523), or a public client by its id alone. A client with a key cannot use a secret.
 *
 * @param authorization the request's header
 * @throws {Refusal} `invalid_client`, `invalid_request`
 */
export type AuthenticateClient = (form: Form, authorization: string | undefined) => Promise<Client>

export function createAuthenticateClient(options: AssertionsOptions): AuthenticateClient {
  const verifyAssertion = createVerifyAssertion(options)
  return async (form, authorization) => {
    if (form.get('client_assertion') === undefined) {
      return bySecret(options.state, form, authorization)
    }
    if (authorization !== undefined || form.get('client_secret') !== undefined) {
      throw new Refusal('invalid_request', 'A client must authenticate in one way only')
    }
    return verifyAssertion(form)
  }
}

function bySecret(state: State, form: Form, authorization: string | undefined): Client {
  const { id, secret } = presented(form, authorization)
  const client = state.client(id)
  if (client === undefined) unauthorized()
  const isPublic = client.token_endpoint_auth_method === 'none'
  if (client.client_authentication_methods !== undefined) unauthorized()
  if (!isPublic && !isSecretOf(client, secret)) unauthorized()
  return client
}

function presented(form: Form, authorization: string | undefined): Credentials {
  const secret = form.get('client_secret')
  if (authorization === undefined) {
    return { id: form.get('client_id') ?? unauthorized(), secret }
  }
  const basic = basicCredentials(authorization)
  const other = form.get('client_id')
  if (secret !== undefined || (other !== undefined && other !== basic.id)) {
    throw new Refusal('invalid_request', 'A client must authenticate in one way only')
  }
  return basic
}

function basicCredentials(authorization: string): Credentials {
  const [, encoded = unauthorized()] = /^basic +([A-Za-z0-9+/]+=*)$/i.exec(authorization) ?? []
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 0) unauthorized()
  return { id: formDecoded(text.slice(0, colon)), secret: formDecoded(text.slice(colon + 1)) }
}

/** Both parts are form-encoded before they are joined. */
function formDecoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return unauthorized()
  }
}

function isSecretOf({ client_secret: expected }: Client, secret: string | undefined): boolean {
  if (expected === undefined || secret === undefined) return false
  return timingSafeEqual(digest(expected), digest(secret))
}

/** Hashes have one length, whatever was sent, so that they can be compared in constant time. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function unauthorized(): never {
  throw new Refusal('invalid_client', 'Unauthorized')
}
