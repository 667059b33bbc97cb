/** Our access to a token endpoint on loopback that behaves as a test says. */
import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TestContext } from 'node:test'
import type { Client } from '../../src/config/config.ts'
import type { GatewayError } from '../../src/errors.ts'
import { PROFILES } from '../../src/exchange/profiles.ts'
import { createProve } from '../../src/exchange/prove.ts'
import {
  createTokenEndpoint,
  type TokenAnswer,
  type TokenEndpoint,
  type TokenRequest,
} from '../../src/exchange/token-endpoint.ts'
import { createOutbound, type Outbound } from '../../src/outbound.ts'
import { IDENTIFIER, listen } from '../support.ts'

export const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const ISSUED_TYPE = 'urn:ietf:params:oauth:token-type:access_token'
export const GOOD = { access_token: 'issued', token_type: 'Bearer', issued_token_type: ISSUED_TYPE }
export const POST: Client = { id: 'client', method: 'client_secret_post', secret: 'a secret' }
/** What an issuer might say, and no caller may read. */
export const ITS_WORDS = 'its-own-words'

export type ProfileName = keyof typeof PROFILES
export type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void

export interface Seen {
  readonly request: IncomingMessage
  readonly body: string
}

/** A token endpoint on loopback with this behaviour, what it saw, and our access to it. */
export async function endpointAt(
  context: TestContext,
  handler: Handler,
  { client = POST, profile = 'rfc8693' as ProfileName } = {},
): Promise<{ endpoint: TokenEndpoint; seen: Seen[] }> {
  const seen: Seen[] = []
  const origin = await listen(context, (request, response) => {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      seen.push({ request, body })
      handler(request, response, body)
    })
  })
  const outbound = createOutbound()
  context.after(() => outbound.close())
  return { endpoint: accessTo(`${origin}/token`, outbound, { client, profile }), seen }
}

export function accessTo(
  url: string,
  outbound: Outbound,
  { client = POST, profile = 'rfc8693' as ProfileName } = {},
): TokenEndpoint {
  const own = PROFILES[profile]
  const presenting = (): Outbound => outbound
  const prove = createProve(client, { profile: own, url, outbound, presenting })
  return createTokenEndpoint({ issuer: IDENTIFIER, url, profile: own, prove })
}

export const answering =
  (status: number, body: unknown, headers: Record<string, string> = {}): Handler =>
  (_, response) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text)
  }

export function exchange(
  endpoint: TokenEndpoint,
  given: Partial<TokenRequest> = {},
): Promise<TokenAnswer> {
  const form = new URLSearchParams({ subject_token: 'theirs' })
  return endpoint.request({ grantType: GRANT, form, about: 'subject', timeoutMs: 10_000, ...given })
}

export async function failure(promise: Promise<unknown>): Promise<GatewayError> {
  const outcome = await promise.then(
    (value) => assert.fail(`it answered ${JSON.stringify(value)}`),
    (error: unknown) => error as GatewayError,
  )
  assert.equal(outcome.name, 'GatewayError', String(outcome))
  assert.doesNotMatch(outcome.message, new RegExp(ITS_WORDS))
  return outcome
}
