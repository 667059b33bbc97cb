import { ACCESS_TOKEN } from './grants/token-exchange.ts'
import type { Generation } from './management/kind.ts'
import type { NewResourceServer } from './resource-server.ts'
import type { State } from './state.ts'

const STOREFRONT = 'https://storefront.example'
const BACKOFFICE = 'https://backoffice.example'
const ORDERS = 'https://orders.internal'
const INVENTORY = 'https://inventory.internal'

/**
 * The objects of the demonstration. Names, ids and secrets are fixed and public: `.env.example` and the documentation
 * contain the same, and they open nothing but a tenant on loopback.
 */
export function seedDemo(state: State, generation: Generation = 'current'): void {
  seedApis(state, generation)
  seedPeople(state)
  seedGateways(state, generation)
}

/** The objects that `behalf provision` does not create: users, their permissions, and the application they log in with. */
export function seedPeople(state: State): void {
  state.addClient({
    client_id: 'spa',
    name: 'Single-page application',
    app_type: 'spa',
    token_endpoint_auth_method: 'none',
    grant_types: ['password', 'refresh_token'],
    refresh_token: {
      rotation_type: 'rotating',
      expiration_type: 'expiring',
      leeway: 0,
      token_lifetime: 2_592_000,
      idle_token_lifetime: 1_296_000,
    },
  })
  state.addUser('alice', 'wonderland', {
    [STOREFRONT]: ['read:orders', 'write:orders', 'read:inventory'],
    [BACKOFFICE]: ['read:orders'],
    [ORDERS]: ['orders:read', 'orders:write'],
    [INVENTORY]: ['inventory:read'],
  })
  state.addUser('bob', 'builder', {
    [STOREFRONT]: ['read:inventory'],
    [INVENTORY]: ['inventory:read'],
  })
}

function seedApis(state: State, generation: Generation): void {
  const target = generation === 'legacy' ? openTarget : closedTarget
  state.addResourceServer({
    ...api(STOREFRONT, 'Storefront', ['read:orders', 'write:orders', 'read:inventory']),
    allow_offline_access: true,
  })
  state.addResourceServer({
    ...api(BACKOFFICE, 'Backoffice', ['read:orders']),
    signing_alg: 'HS256',
    signing_secret: 'demo-only-backoffice-signing-secret-0001',
  })
  state.addResourceServer(target(ORDERS, 'Orders', ['orders:read', 'orders:write']))
  state.addResourceServer(target(INVENTORY, 'Inventory', ['inventory:read']))
}

function api(identifier: string, name: string, scopes: readonly string[]): NewResourceServer {
  return {
    identifier,
    name,
    scopes: scopes.map((value) => ({ value })),
    enforce_policies: true,
  }
}

/** An API whose tokens come only from exchanges, because applications have no grant for it. */
function closedTarget(
  identifier: string,
  name: string,
  scopes: readonly string[],
): NewResourceServer {
  return {
    ...openTarget(identifier, name, scopes),
    subject_type_authorization: {
      user: { policy: 'require_client_grant' },
      client: { policy: 'require_client_grant' },
    },
  }
}

/** Such an API of 2019, when APIs had no policy for that. */
function openTarget(
  identifier: string,
  name: string,
  scopes: readonly string[],
): NewResourceServer {
  return {
    ...api(identifier, name, scopes),
    token_lifetime: 3_600,
    skip_consent_for_verifiable_first_party_clients: true,
  }
}

function seedGateways(state: State, generation: Generation): void {
  const seedGateway = generation === 'legacy' ? seedLegacyGateway : seedCurrentGateway
  seedGateway(state, 'storefront', STOREFRONT, {
    [ORDERS]: ['orders:read', 'orders:write'],
    [INVENTORY]: ['inventory:read'],
  })
  seedGateway(state, 'backoffice', BACKOFFICE, { [ORDERS]: ['orders:read'] })
}

/** An API's own client, and its grants for users. */
function seedCurrentGateway(
  state: State,
  name: string,
  identifier: string,
  targets: Readonly<Record<string, readonly string[]>>,
): void {
  const clientId = `${name}-gateway`
  state.addClient({
    client_id: clientId,
    name: `${name} as a client`,
    client_secret: `demo-only-${name}-client-secret-0001`,
    app_type: 'resource_server',
    resource_server_identifier: identifier,
    token_exchange: { allow_any_profile_of_type: ['on_behalf_of_token_exchange'] },
  })
  for (const [audience, scopes] of Object.entries(targets)) {
    state.addClientGrant({
      client_id: clientId,
      audience,
      scope: [...scopes],
      subject_type: 'user',
    })
  }
}

/** The same in 2019: the API says what may be exchanged, and its grants have no subject type. */
function seedLegacyGateway(
  state: State,
  name: string,
  identifier: string,
  targets: Readonly<Record<string, readonly string[]>>,
): void {
  const clientId = `${name}-gateway`
  state.addClient({
    client_id: clientId,
    name: `${name} as a client`,
    client_secret: `demo-only-${name}-client-secret-0001`,
    app_type: 'resource_server',
    resource_server_identifier: identifier,
  })
  const server = state.resourceServer(identifier)
  if (server !== undefined) server.token_exchange = { enabled_subject_token_types: [ACCESS_TOKEN] }
  for (const [audience, scopes] of Object.entries(targets)) {
    state.addClientGrant({ client_id: clientId, audience, scope: [...scopes] })
  }
}
