import { randomName } from './names.ts'
import type { ResourceServer } from './resource-server.ts'

export type SubjectType = 'client' | 'user'

/** What a client may ask of an API, for users or for itself. */
export interface ClientGrant {
  readonly id: string
  readonly client_id: string
  readonly audience: string
  scope: string[]
  readonly subject_type: SubjectType
  /** Grant every scope of the API, and ignore `scope`. Default false. */
  allow_all_scopes?: boolean
  /** Other fields that the Management API was given. It returns them; they have no effect. */
  settings?: Readonly<Record<string, unknown>>
}

export type NewClientGrant = Pick<ClientGrant, 'client_id' | 'audience' | 'scope'> &
  Partial<ClientGrant>

/** @throws {TypeError} when the API lacks a scope of the grant */
export function completeClientGrant(
  given: NewClientGrant,
  server: ResourceServer | undefined,
): ClientGrant {
  const grant: ClientGrant = { id: `cgr_${randomName(16)}`, subject_type: 'client', ...given }
  const unknown = unknownScope(grant.scope, server)
  if (unknown !== undefined) throw new TypeError(`${grant.audience} has no scope ${unknown}`)
  return grant
}

/** A scope that the API does not have, if there is one. */
export function unknownScope(
  scope: readonly string[],
  server: ResourceServer | undefined,
): string | undefined {
  const known = new Set(server?.scopes.map(({ value }) => value))
  return scope.find((value) => !known.has(value))
}

/** The scopes that the grant gives at its API. */
export function grantedScopes(
  { scope, allow_all_scopes: all }: ClientGrant,
  { scopes }: ResourceServer,
): readonly string[] {
  return all === true ? scopes.map(({ value }) => value) : scope
}
