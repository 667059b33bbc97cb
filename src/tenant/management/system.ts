import { completeClient } from '../client.ts'
import { completeClientGrant } from '../client-grant.ts'
import { randomName } from '../names.ts'
import { completeResourceServer } from '../resource-server.ts'
import type { SystemObjects } from '../state.ts'

/** The client that may call the Management API, by client credentials. */
export interface ManagementClient {
  readonly clientId: string
  readonly clientSecret: string
}

const scopesOf = (noun: string): readonly string[] =>
  ['read', 'create', 'update', 'delete'].map((verb) => `${verb}:${noun}`)

/** The scopes of the Management API. */
const MANAGEMENT_SCOPES: readonly string[] = [
  ...scopesOf('resource_servers'),
  ...scopesOf('clients'),
  ...scopesOf('client_keys'),
  ...scopesOf('client_credentials'),
  ...scopesOf('client_grants'),
]

export function newManagementClient(): ManagementClient {
  return { clientId: randomName(32), clientSecret: randomName(64) }
}

/** The tenant's own API and a client with all its scopes, as every Auth0 tenant has them. */
export function createSystem(issuer: string, given: ManagementClient): SystemObjects {
  const server = completeResourceServer({
    identifier: `${issuer}api/v2/`,
    name: 'Auth0 Management API',
    is_system: true,
    scopes: MANAGEMENT_SCOPES.map((value) => ({ value })),
    subject_type_authorization: {
      user: { policy: 'deny_all' },
      client: { policy: 'require_client_grant' },
    },
  })
  const client = completeClient({
    client_id: given.clientId,
    client_secret: given.clientSecret,
    name: 'Management',
    app_type: 'non_interactive',
    grant_types: ['client_credentials'],
  })
  const grant = completeClientGrant(
    { client_id: given.clientId, audience: server.identifier, scope: [...MANAGEMENT_SCOPES] },
    server,
  )
  return { server, client, grant }
}
