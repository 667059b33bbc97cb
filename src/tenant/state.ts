import { randomBytes } from 'node:crypto'

/** What a tenant knows, in the shapes and under the names of Auth0's Management API v2. */

export type TokenDialect =
  'access_token' | 'access_token_authz' | 'rfc9068_profile' | 'rfc9068_profile_authz'

/** An API. */
export interface ResourceServer {
  readonly id: string
  /** The audience of its tokens. */
  readonly identifier: string
  name?: string
  scopes: { value: string; description?: string }[]
  signing_alg: 'RS256' | 'HS256'
  /** The HS256 key, as raw UTF-8. */
  signing_secret?: string
  /** In seconds. Default 86 400. */
  token_lifetime: number
  /** Default `access_token`. */
  token_dialect: TokenDialect
  /** Whether users get only the scopes that they hold as permissions. Default false. */
  enforce_policies: boolean
  /** Whether `offline_access` gives a refresh token. Default false. */
  allow_offline_access: boolean
  /** Default false: an exchange for it answers `consent_required`, since nobody is there to be asked. */
  skip_consent_for_verifiable_first_party_clients: boolean
  /** Default: all clients for users, those with a grant for themselves. */
  subject_type_authorization: {
    user: { policy: 'allow_all' | 'deny_all' | 'require_client_grant' }
    client: { policy: 'deny_all' | 'require_client_grant' }
  }
  /** What its tokens are bound to. Default null: to nothing, whatever a client proves. */
  proof_of_possession: ProofOfPossession | null
  /** The client that the API acts as, once there is one. */
  client_id?: string
}

export interface ProofOfPossession {
  /** `mtls` can be set and never met: this tenant has no TLS. */
  mechanism: 'dpop' | 'mtls'
  /** Whether a client without a proof gets nothing. With false it gets a bearer token, and no word about it. */
  required: boolean
  /** Whom `required` is for. Default `all_clients`. */
  required_for?: 'public_clients' | 'all_clients'
}

export interface RefreshTokenSettings {
  rotation_type: 'rotating' | 'non-rotating'
  expiration_type: 'expiring' | 'non-expiring'
  /** How long the previous token is tolerated after a rotation, in seconds. */
  leeway: number
  /** How long a family of tokens lives, in seconds, if it expires. */
  token_lifetime: number
  /** How long a family of tokens lives unused, in seconds, if it expires. */
  idle_token_lifetime: number
  /**
   * The other APIs that a refresh may name as its `audience` (Multi-Resource Refresh Tokens), and what of their scopes.
   * Default none.
   */
  policies?: { audience: string; scope: string[] }[]
}

/** An application, or an API in its role as a client (`app_type: resource_server`). */
export interface Client {
  readonly client_id: string
  name: string
  client_secret?: string
  readonly app_type: 'spa' | 'regular_web' | 'non_interactive' | 'native' | 'resource_server'
  /** Both methods with a secret are accepted from a client that has one, as Auth0 does. */
  token_endpoint_auth_method: 'none' | 'client_secret_post' | 'client_secret_basic'
  /** On-Behalf-Of needs no entry: `token_exchange` allows it. */
  grant_types: string[]
  /** The API that the client is. Cannot be changed. */
  readonly resource_server_identifier?: string
  token_exchange?: { allow_any_profile_of_type: string[] }
  refresh_token: RefreshTokenSettings
}

/** What a client may ask of an API, for users or for itself. */
export interface ClientGrant {
  readonly id: string
  readonly client_id: string
  readonly audience: string
  scope: string[]
  readonly subject_type: 'client' | 'user'
}

export interface User {
  readonly user_id: string
  readonly username: string
  password: string
  permissions: { resource_server_identifier: string; permission_name: string }[]
}

export type NewResourceServer = Partial<ResourceServer> & Pick<ResourceServer, 'identifier'>
export type NewClient = Partial<Client>
export type NewClientGrant = Pick<ClientGrant, 'client_id' | 'audience' | 'scope'> &
  Partial<ClientGrant>
/** The scopes that a user holds as permissions, by audience. */
export type Permissions = Readonly<Record<string, readonly string[]>>

/** The tenant's objects. They may be changed at any time: the next request is judged by what they are then. */
export interface State {
  readonly resourceServers: ReadonlyMap<string, ResourceServer>
  readonly clients: ReadonlyMap<string, Client>
  readonly clientGrants: ReadonlyMap<string, ClientGrant>
  /** By name. */
  readonly users: ReadonlyMap<string, User>
  /** @throws {TypeError} when there is one with this identifier */
  addResourceServer(server: NewResourceServer): ResourceServer
  /** @throws {TypeError} when there is one with this id, or the API that it is to be has one already or is unknown */
  addClient(client: NewClient): Client
  /** @throws {TypeError} when there is one for this client, audience and subject type, or the API lacks a scope of it */
  addClientGrant(grant: NewClientGrant): ClientGrant
  removeClientGrant(id: string): void
  /**
   * @param permissions Default: every scope of every API there is now.
   * @throws {TypeError} when there is a user of this name
   */
  addUser(name: string, password: string, permissions?: Permissions): User
  grantOf(
    client: Client,
    server: ResourceServer,
    subjectType: 'client' | 'user',
  ): ClientGrant | undefined
  userById(id: string): User | undefined
}

export function createState(): State {
  const resourceServers = new Map<string, ResourceServer>()
  const clients = new Map<string, Client>()
  const clientGrants = new Map<string, ClientGrant>()
  const users = new Map<string, User>()
  const usersById = new Map<string, User>()

  const grantFor = (clientId: string, audience: string, subjectType: 'client' | 'user') => {
    for (const grant of clientGrants.values()) {
      const found = grant.client_id === clientId && grant.audience === audience
      if (found && grant.subject_type === subjectType) return grant
    }
    return undefined
  }

  return {
    resourceServers,
    clients,
    clientGrants,
    users,
    addResourceServer(given) {
      const server = completeResourceServer(given)
      return added(resourceServers, server.identifier, server, 'resource server')
    },
    addClient(given) {
      const client = completeClient(given)
      const { resource_server_identifier: identifier } = client
      const server = identifier === undefined ? undefined : resourceServers.get(identifier)
      if (client.app_type === 'resource_server' && server === undefined) {
        throw new TypeError('a client of type resource_server needs the identifier of one')
      }
      if (server?.client_id !== undefined) {
        throw new TypeError(`${server.identifier} has a client already`)
      }
      added(clients, client.client_id, client, 'client')
      if (server !== undefined) server.client_id = client.client_id
      return client
    },
    addClientGrant(given) {
      const grant: ClientGrant = { id: `cgr_${randomName(16)}`, subject_type: 'client', ...given }
      const { client_id: clientId, audience, scope, subject_type: subjectType } = grant
      const known = new Set(resourceServers.get(audience)?.scopes.map(({ value }) => value))
      const unknown = scope.find((value) => !known.has(value))
      if (unknown !== undefined) throw new TypeError(`${audience} has no scope ${unknown}`)
      if (grantFor(clientId, audience, subjectType) !== undefined) {
        throw new TypeError(`${clientId} has a grant for ${audience} already`)
      }
      return added(clientGrants, grant.id, grant, 'client grant')
    },
    removeClientGrant: (id) => void clientGrants.delete(id),
    addUser(username, password, permissions = everything(resourceServers)) {
      const user: User = {
        user_id: `auth0|${username}`,
        username,
        password,
        permissions: Object.entries(permissions).flatMap(([audience, scopes]) =>
          scopes.map((name) => ({ resource_server_identifier: audience, permission_name: name })),
        ),
      }
      usersById.set(user.user_id, added(users, username, user, 'user'))
      return user
    },
    grantOf: (client, server, subjectType) =>
      grantFor(client.client_id, server.identifier, subjectType),
    userById: (id) => usersById.get(id),
  }
}

function added<Value>(map: Map<string, Value>, key: string, value: Value, kind: string): Value {
  if (map.has(key)) throw new TypeError(`there is a ${kind} ${key} already`)
  map.set(key, value)
  return value
}

/** The defaults are those that a real tenant was seen to fill in. */
function completeResourceServer(given: NewResourceServer): ResourceServer {
  const server: ResourceServer = {
    id: randomBytes(12).toString('hex'),
    scopes: [],
    signing_alg: 'RS256',
    token_lifetime: 86_400,
    token_dialect: 'access_token',
    enforce_policies: false,
    allow_offline_access: false,
    skip_consent_for_verifiable_first_party_clients: false,
    proof_of_possession: null,
    subject_type_authorization: {
      user: { policy: 'allow_all' },
      client: { policy: 'require_client_grant' },
    },
    ...given,
  }
  if (server.signing_alg === 'HS256') server.signing_secret ??= randomName(32)
  return server
}

function completeClient(given: NewClient): Client {
  const client: Client = {
    client_id: randomName(32),
    name: given.client_id ?? 'a client',
    app_type: 'regular_web',
    token_endpoint_auth_method: 'client_secret_post',
    grant_types: [],
    refresh_token: {
      rotation_type: 'non-rotating',
      expiration_type: 'non-expiring',
      leeway: 0,
      token_lifetime: 2_592_000,
      idle_token_lifetime: 1_296_000,
    },
    ...given,
  }
  if (client.token_endpoint_auth_method !== 'none') client.client_secret ??= randomName(64)
  return client
}

function everything(resourceServers: ReadonlyMap<string, ResourceServer>): Permissions {
  const all = [...resourceServers.values()].map(
    ({ identifier, scopes }) => [identifier, scopes.map(({ value }) => value)] as const,
  )
  return Object.fromEntries(all)
}

/** Letters and digits, as Auth0's ids are. */
function randomName(length: number): string {
  let name = ''
  while (name.length < length)
    name += randomBytes(64)
      .toString('base64')
      .replace(/[^\w]|_/g, '')
  return name.slice(0, length)
}
