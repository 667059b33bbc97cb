/** A tenant that rotates refresh tokens and revokes a family at once when a spent one comes again, and who uses it. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { createTenant, type Tenant } from '../../src/tenant/index.ts'
import {
  startGateway,
  startUpstream,
  type Gateway,
  type Received,
  type Upstream,
} from '../system.ts'
import { signingKey } from '../tenant/signing-key.ts'
import type { ServerResponse } from 'node:http'

export const HEADER = 'x-refresh-token'
const STOREFRONT = 'https://storefront.example'
const ORDERS = 'https://orders.internal'
const INVENTORY = 'https://inventory.internal'
export const ADMIN_TOKEN = 'a-token-of-the-operators-9f2c41d07ab6'
const CLIENT = { id: 'web', secret: 'the-secret-of-the-web-client-0001' }

export interface World {
  readonly tenant: Tenant
  readonly upstream: Upstream
  readonly gateway: Gateway
  /** Logs a user in anew. */
  login(user?: string): Promise<Session>
  /** How many refreshes the tenant was asked for. */
  refreshes(): number
}

export interface Session {
  readonly accessToken: string
  readonly refreshToken: string
}

export interface WorldOptions {
  readonly exchange?: object
  readonly answer?: (received: Received, response: ServerResponse) => void
}

export interface RotatingTenant {
  readonly tenant: Tenant
  readonly client: typeof CLIENT
  /** Two routes that redeem what callers bring, and one that exchanges nothing. */
  configuration(upstream: string, exchange?: object): object
  login(user?: string): Promise<Session>
  refreshes(): number
}

export async function rotatingTenant(t: TestContext): Promise<RotatingTenant> {
  const tenant = await createTenant({ signingKey })
  t.after(() => tenant.close())
  seedWebClient(tenant)
  tenant.addUser('carol')
  return {
    tenant,
    client: CLIENT,
    configuration: (upstream, exchange) => configuration(tenant.url, upstream, exchange),
    login: (user = 'alice') => login(tenant, user),
    refreshes: () =>
      tenant.requests().filter(({ grantType }) => grantType === 'refresh_token').length,
  }
}

/** Two routes that redeem what callers bring: the orders and the inventory. */
export async function rotatingWorld(
  t: TestContext,
  { exchange, answer }: WorldOptions = {},
): Promise<World> {
  const rotating = await rotatingTenant(t)
  const upstream = await startUpstream(t, answer)
  const gateway = await startGateway(t, rotating.configuration(upstream.origin, exchange))
  return { ...rotating, upstream, gateway }
}

function seedWebClient({ state }: Tenant): void {
  const client = state.addClient({
    client_id: CLIENT.id,
    client_secret: CLIENT.secret,
    name: 'Web application',
    app_type: 'regular_web',
    grant_types: ['password', 'refresh_token'],
  })
  Object.assign(client.refresh_token, {
    rotation_type: 'rotating',
    expiration_type: 'expiring',
    leeway: 0,
    token_lifetime: 2_592_000,
    idle_token_lifetime: 1_296_000,
    policies: [
      { audience: ORDERS, scope: ['orders:read'] },
      { audience: INVENTORY, scope: ['inventory:read'] },
    ],
  })
  for (const [audience, scope] of [
    [STOREFRONT, ['read:orders']],
    [ORDERS, ['orders:read']],
    [INVENTORY, ['inventory:read']],
  ] as const) {
    state.addClientGrant({
      client_id: CLIENT.id,
      audience,
      scope: [...scope],
      subject_type: 'user',
    })
  }
}

function configuration(issuer: string, upstream: string, exchange: object = {}): object {
  const route = (path: string, audience: string, scope: string): object => ({
    name: path.slice(1),
    match: { path },
    authenticate: { api: 'storefront' },
    authorize: { scopes: ['read:orders'] },
    exchange: {
      grant: 'refresh-token',
      ...{ audience, scopes: [scope], client: CLIENT },
      ...{ refreshTokenHeader: HEADER, returnRefreshToken: true },
      ...exchange,
    },
    proxy: { upstream },
  })
  return {
    admin: { listen: '127.0.0.1:0', token: ADMIN_TOKEN },
    issuers: { tenant: { issuer, profile: 'auth0', budget: { rate: 1_000, burst: 1_000 } } },
    apis: { storefront: { issuer: 'tenant', audience: STOREFRONT } },
    routes: [
      route('/orders', ORDERS, 'orders:read'),
      route('/inventory', INVENTORY, 'inventory:read'),
      {
        name: 'public',
        match: { path: '/public' },
        authenticate: { api: 'storefront' },
        exchange: { grant: 'none' },
        proxy: { upstream },
      },
    ],
  }
}

async function login(tenant: Tenant, username: string): Promise<Session> {
  const response = await fetch(`${tenant.url}oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      ...{ grant_type: 'password', client_id: CLIENT.id, client_secret: CLIENT.secret },
      ...{ username, password: username === 'alice' ? 'wonderland' : username },
      ...{ audience: STOREFRONT, scope: 'read:orders offline_access' },
    }),
  })
  const answer = (await response.json()) as Record<string, unknown>
  assert.equal(response.status, 200, JSON.stringify(answer))
  assert.equal(typeof answer['refresh_token'], 'string')
  return {
    accessToken: String(answer['access_token']),
    refreshToken: String(answer['refresh_token']),
  }
}

/** Forgets what is known of a user. */
export async function purge({ gateway }: Pick<World, 'gateway'>, subject: string): Promise<void> {
  const response = await fetch(`${gateway.adminOrigin}/purge`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_TOKEN}` },
    body: JSON.stringify({ subject }),
  })
  assert.ok(response.ok, `${response.status}`)
}

export interface Answered {
  readonly status: number
  readonly code: unknown
  readonly successor: string | null
  readonly cacheControl: string | null
  readonly body: Readonly<Record<string, unknown>>
}

export async function call(
  { gateway }: Pick<World, 'gateway'>,
  path: string,
  { accessToken, refreshToken }: { readonly accessToken: string; readonly refreshToken?: string },
  options: RequestInit = {},
): Promise<Answered> {
  const response = await fetch(`${gateway.origin}${path}`, {
    ...options,
    headers: {
      authorization: `Bearer ${accessToken}`,
      ...(refreshToken !== undefined && { [HEADER]: refreshToken }),
    },
  })
  const text = await response.text()
  const body = (text.startsWith('{') ? JSON.parse(text) : {}) as Record<string, unknown>
  return {
    status: response.status,
    code: body['code'],
    successor: response.headers.get(HEADER),
    cacheControl: response.headers.get('cache-control'),
    body,
  }
}
