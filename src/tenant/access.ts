import { Refusal } from './refusal.ts'
import type { Client } from './client.ts'
import { grantedScopes, type ClientGrant } from './client-grant.ts'
import type { ResourceServer } from './resource-server.ts'
import type { State } from './state.ts'
import type { User } from './user.ts'

/** What a subject may be given at an API, and what of it was asked for. */
export interface Access {
  readonly scopes: readonly string[]
  readonly permissions: readonly string[]
}

/** @throws {Refusal} `access_denied` */
export function knownAudience(state: State, audience: string): ResourceServer {
  const server = state.resourceServer(audience)
  if (server !== undefined) return server
  throw new Refusal('access_denied', `Service not enabled within domain: ${audience}`)
}

/**
 * Whether users may be represented at the API by this client: the grant that says so, or undefined where the API needs
 * none.
 *
 * @throws {Refusal} `access_denied`
 */
export function userGrant(
  state: State,
  client: Client,
  server: ResourceServer,
): ClientGrant | undefined {
  const { policy } = server.subject_type_authorization.user
  const grant = state.grantOf(client, server, 'user')
  if (policy === 'deny_all' || (policy === 'require_client_grant' && grant === undefined)) {
    notAuthorized(server)
  }
  return policy === 'allow_all' ? undefined : grant
}

/** In Auth0's words. */
export function notAuthorized({ identifier }: ResourceServer): never {
  throw new Refusal(
    'access_denied',
    `Client is not authorized to access "${identifier}". You need to create a "client-grant" associated to this API.`,
  )
}

/**
 * A user's access: requested, and of the API, and in the grant, and held by the user where the API enforces policies.
 * Scopes beyond that are dropped without a word. Nothing requested stands for everything.
 */
export function userAccess(
  server: ResourceServer,
  user: User,
  requested: readonly string[] | undefined,
  grant: ClientGrant | undefined,
): Access {
  const held = new Set(
    user.permissions
      .filter(({ resource_server_identifier: audience }) => audience === server.identifier)
      .map(({ permission_name: name }) => name),
  )
  const granted = grant && grantedScopes(grant, server)
  const allowed = server.scopes
    .map(({ value }) => value)
    .filter((value) => !server.enforce_policies || held.has(value))
    .filter((value) => granted?.includes(value) ?? true)
  return {
    scopes: requested === undefined ? allowed : requested.filter((one) => allowed.includes(one)),
    permissions: allowed.filter((value) => held.has(value)),
  }
}
