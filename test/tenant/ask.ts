/** A tenant for one test, and a plain HTTP client for its token endpoint. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet, type JWTPayload } from 'jose'
import { createTenant, type Tenant, type TenantOptions } from '../../src/tenant/index.ts'
import { signingKey } from './signing-key.ts'

export const STOREFRONT = 'https://storefront.example'
export const BACKOFFICE = 'https://backoffice.example'
export const ORDERS = 'https://orders.internal'
export const INVENTORY = 'https://inventory.internal'

export const STOREFRONT_CLIENT = {
  client_id: 'storefront-gateway',
  client_secret: 'demo-only-storefront-client-secret-0001',
}
export const BACKOFFICE_CLIENT = {
  client_id: 'backoffice-gateway',
  client_secret: 'demo-only-backoffice-client-secret-0001',
}
export const BACKOFFICE_SIGNING_SECRET = 'demo-only-backoffice-signing-secret-0001'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

export async function startTenant(t: TestContext, options?: TenantOptions): Promise<Tenant> {
  const tenant = await createTenant({ signingKey, ...options })
  t.after(() => tenant.close())
  return tenant
}

/** `undefined` leaves a parameter out. */
export type Parameters = Readonly<Record<string, string | undefined>>

export interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>>
}

/** Posts a form to the token endpoint. */
export async function ask(
  tenant: Tenant,
  parameters: Parameters,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answered> {
  return post(tenant, new URLSearchParams(given(parameters)).toString(), {
    'content-type': 'application/x-www-form-urlencoded',
    ...headers,
  })
}

/** Posts a body as it is. */
export async function post(
  tenant: Tenant,
  body: string,
  headers: Readonly<Record<string, string>>,
): Promise<Answered> {
  const response = await fetch(`${tenant.url}oauth/token`, { method: 'POST', body, headers })
  const answer = (await response.json()) as Record<string, unknown>
  return { status: response.status, headers: response.headers, body: answer }
}

export function given(parameters: Parameters): [string, string][] {
  return Object.entries(parameters).filter(
    (pair): pair is [string, string] => pair[1] !== undefined,
  )
}

export function basic(id: string, secret: string): Readonly<Record<string, string>> {
  // RFC 6749, section 2.3.1: each part is form-encoded first.
  const encoded = [id, secret]
    .map((part) => new URLSearchParams({ part }).toString().slice(5))
    .join(':')
  return { authorization: `Basic ${Buffer.from(encoded).toString('base64')}` }
}

export function passwordForm(changes: Parameters = {}): Parameters {
  return {
    grant_type: 'password',
    client_id: 'spa',
    username: 'alice',
    password: 'wonderland',
    audience: STOREFRONT,
    scope: 'read:orders',
    ...changes,
  }
}

/** An exchange as the storefront, for the orders. */
export function exchangeForm(subjectToken: string, changes: Parameters = {}): Parameters {
  return {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    ...STOREFRONT_CLIENT,
    subject_token: subjectToken,
    subject_token_type: ACCESS_TOKEN,
    requested_token_type: ACCESS_TOKEN,
    audience: ORDERS,
    scope: 'orders:read',
    ...changes,
  }
}

/** Fails unless the answer is this refusal, in the shape of RFC 6749, section 5.2. */
export function assertRefused({ status, body }: Answered, code: number, error: string): void {
  assert.deepEqual([status, body['error']], [code, error], JSON.stringify(body))
  assert.deepEqual(Object.keys(body), ['error', 'error_description'])
  assert.equal(typeof body['error_description'], 'string')
}

/** The access token of an answer that must be good. */
export function tokenOf({ status, body }: Answered): string {
  assert.equal(status, 200, JSON.stringify(body))
  assert.equal(typeof body['access_token'], 'string')
  return String(body['access_token'])
}

export interface Verified {
  readonly claims: JWTPayload
  readonly header: Readonly<Record<string, unknown>>
}

/** Verifies a token by what the tenant publishes, or by a signing secret. */
export async function verified(tenant: Tenant, token: string, secret?: string): Promise<Verified> {
  const options = { issuer: tenant.url }
  const { payload, protectedHeader } =
    secret === undefined
      ? await jwtVerify(token, createLocalJWKSet(await publishedKeys(tenant)), options)
      : await jwtVerify(token, Buffer.from(secret, 'utf8'), { ...options, algorithms: ['HS256'] })
  return { claims: payload, header: { ...protectedHeader } }
}

export async function publishedKeys(tenant: Tenant): Promise<JSONWebKeySet> {
  const response = await fetch(`${tenant.url}.well-known/jwks.json`)
  return (await response.json()) as JSONWebKeySet
}
