import type { ResourceServer } from './resource-server.ts'

export interface User {
  readonly user_id: string
  readonly username: string
  password: string
  permissions: { resource_server_identifier: string; permission_name: string }[]
}

/** The scopes that a user holds as permissions, by audience. */
export type Permissions = Readonly<Record<string, readonly string[]>>

export function createUser(username: string, password: string, permissions: Permissions): User {
  return {
    user_id: `auth0|${username}`,
    username,
    password,
    permissions: Object.entries(permissions).flatMap(([audience, scopes]) =>
      scopes.map((name) => ({ resource_server_identifier: audience, permission_name: name })),
    ),
  }
}

/** Every scope of every API. */
export function everything(resourceServers: ReadonlyMap<string, ResourceServer>): Permissions {
  const all = [...resourceServers.values()].map(
    ({ identifier, scopes }) => [identifier, scopes.map(({ value }) => value)] as const,
  )
  return Object.fromEntries(all)
}
