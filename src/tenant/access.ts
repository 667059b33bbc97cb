import { Refusal } from './refusal.ts'
import type { Client } from './client.ts'
import { grantedScopes, type ClientGrant } from './client-grant.ts'
import type { ResourceServer } from './resource-server.ts'
import type { State } from './state.ts'
import type { User } from './user.ts'

/** The scopes and permissions that a subject gets at an API. */
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
 * The grant that lets this client act for users at the API; undefined if the API needs none.
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

/** The message is Auth0's. */
export function notAuthorized({ identifier }: ResourceServer): never {
  throw new Refusal(
    'access_denied',
    `Client is not authorized to access "${identifier}". You need to create a "client-grant" associated to this API.`,
  )
}

/**
 * A user's access: scopes that were requested, that the API and the grant have, and, if the API enforces policies, that the
 * user holds. Other scopes are silently dropped. Without a request, every scope counts as requested.
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
