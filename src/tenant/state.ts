import { completeClient, type Client, type NewClient } from './client.ts'
import {
  completeClientGrant,
  type ClientGrant,
  type NewClientGrant,
  type SubjectType,
} from './client-grant.ts'
import {
  completeResourceServer,
  type NewResourceServer,
  type ResourceServer,
} from './resource-server.ts'
import { createUser, everything, type Permissions, type User } from './user.ts'

/** The tenant's own objects: its Management API, and the client that may call it. */
export interface SystemObjects {
  readonly server: ResourceServer
  readonly client: Client
  readonly grant: ClientGrant
}

/** The tenant's objects. They may be changed at any time; the change counts from the next request on. */
export interface State {
  /** By identifier, without the tenant's own API. */
  readonly resourceServers: ReadonlyMap<string, ResourceServer>
  /** Without the tenant's own. */
  readonly clients: ReadonlyMap<string, Client>
  /** Without the tenant's own. */
  readonly clientGrants: ReadonlyMap<string, ClientGrant>
  /** By name. */
  readonly users: ReadonlyMap<string, User>
  /** The tenant's own, once it has started. */
  readonly system: SystemObjects | undefined
  /** @throws {TypeError} if the identifier is taken */
  addResourceServer(server: NewResourceServer): ResourceServer
  /** Also removes its client, and all grants of either. */
  removeResourceServer(identifier: string): void
  /** @throws {TypeError} if the id is taken, or the client's API is unknown or has a client already */
  addClient(client: NewClient): Client
  /** Also removes its grants. */
  removeClient(id: string): void
  /** @throws {TypeError} if there is one for this client, audience and subject type, or the API lacks one of its scopes */
  addClientGrant(grant: NewClientGrant): ClientGrant
  removeClientGrant(id: string): void
  /**
   * @param permissions Default: every scope of every API there is now.
   * @throws {TypeError} if the name is taken
   */
  addUser(name: string, password: string, permissions?: Permissions): User
  addSystem(objects: SystemObjects): void
  /** The API of this identifier; also the tenant's own. */
  resourceServer(identifier: string): ResourceServer | undefined
  /** The client of this id; also the tenant's own. */
  client(id: string): Client | undefined
  grantOf(client: Client, server: ResourceServer, subjectType: SubjectType): ClientGrant | undefined
  userById(id: string): User | undefined
}

export function createState(): State {
  const resourceServers = new Map<string, ResourceServer>()
  const clients = new Map<string, Client>()
  const clientGrants = new Map<string, ClientGrant>()
  const users = new Map<string, User>()
  const usersById = new Map<string, User>()
  let system: SystemObjects | undefined

  const grantFor = (clientId: string, audience: string, subjectType: SubjectType) => {
    const all = system === undefined ? [] : [system.grant]
    for (const grant of [...all, ...clientGrants.values()]) {
      const found = grant.client_id === clientId && grant.audience === audience
      if (found && grant.subject_type === subjectType) return grant
    }
    return undefined
  }

  const removeGrants = (isGone: (grant: ClientGrant) => boolean): void => {
    for (const grant of clientGrants.values()) if (isGone(grant)) clientGrants.delete(grant.id)
  }

  const removeClient = (id: string): void => {
    const identifier = clients.get(id)?.resource_server_identifier
    const server = identifier === undefined ? undefined : resourceServers.get(identifier)
    if (server !== undefined) delete server.client_id
    clients.delete(id)
    removeGrants((grant) => grant.client_id === id)
  }

  return {
    resourceServers,
    clients,
    clientGrants,
    users,
    get system() {
      return system
    },
    addResourceServer(given) {
      const server = completeResourceServer(given)
      return added(resourceServers, server.identifier, server, 'resource server')
    },
    removeResourceServer(identifier) {
      const clientId = resourceServers.get(identifier)?.client_id
      if (clientId !== undefined) removeClient(clientId)
      resourceServers.delete(identifier)
      removeGrants((grant) => grant.audience === identifier)
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
    removeClient,
    addClientGrant(given) {
      const grant = completeClientGrant(given, resourceServers.get(given.audience))
      const { client_id: clientId, audience, subject_type: subjectType } = grant
      if (grantFor(clientId, audience, subjectType) !== undefined) {
        throw new TypeError(`${clientId} has a grant for ${audience} already`)
      }
      return added(clientGrants, grant.id, grant, 'client grant')
    },
    removeClientGrant: (id) => void clientGrants.delete(id),
    addUser(username, password, permissions = everything(resourceServers)) {
      const user = createUser(username, password, permissions)
      usersById.set(user.user_id, added(users, username, user, 'user'))
      return user
    },
    addSystem(objects) {
      system = objects
    },
    resourceServer: (identifier) =>
      system?.server.identifier === identifier ? system.server : resourceServers.get(identifier),
    client: (id) => (system?.client.client_id === id ? system.client : clients.get(id)),
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
