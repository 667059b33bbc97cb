import type { WantedClient } from './desired-clients.ts'
import type { WantedGrant } from './desired-grants.ts'
import type { WantedServer } from './desired-servers.ts'
import { merged, type Fields } from './merge.ts'

export type Wanted = WantedServer | WantedClient | WantedGrant

/** What one field is, and what it is to become. */
export interface Change {
  /** Undefined: it is not set. */
  readonly from: unknown
  readonly to: unknown
}

/** An object that is deleted, because Auth0 cannot change what differs in it. */
export interface Gone {
  readonly kind: 'resource-server' | 'client' | 'client-grant' | 'credential'
  /** What the tenant calls it. */
  readonly id: string
  readonly because: string
}

/** One object of the tenant, and what is done with it. */
export interface Step {
  /** `replace`: something is deleted, and created again as wanted. */
  readonly action: 'create' | 'update' | 'replace' | 'unchanged'
  readonly kind: Wanted['kind']
  /** An identifier, an API's name, or a pair of them. */
  readonly name: string
  /** By Auth0's names; only fields that differ. */
  readonly fields: Readonly<Record<string, Change>>
  /** Empty unless the action is `replace`; then at least one. */
  readonly deletes: readonly Gone[]
  readonly wanted: Wanted
  /** The tenant's id of the object, once it exists. */
  readonly id: string | undefined
}

export interface PlanOptions {
  /** Remove scopes that no route asks for. Default: they stay. */
  readonly pruneScopes: boolean
  /** Delete and create objects again if Auth0 cannot change what differs. Default: nothing is deleted. */
  readonly replace?: boolean
}

export type Base = Pick<Step, 'kind' | 'name' | 'wanted'>

export function created(base: Base, body: Fields): Step {
  const changes = Object.entries(body).map(([name, value]) => [
    name,
    { from: undefined, to: merged(undefined, value) },
  ])
  const fields = Object.fromEntries(changes) as Step['fields']
  return { ...base, action: 'create', id: undefined, fields, deletes: [] }
}

export function updated(
  base: Base,
  id: string,
  fields: Step['fields'],
  deletes: readonly Gone[] = [],
): Step {
  const isSame = Object.keys(fields).length === 0
  const action = isSame ? 'unchanged' : 'update'
  return { ...base, action: deletes.length > 0 ? 'replace' : action, id, fields, deletes }
}

/** The body of the call that makes the change. */
export function bodyOf({ fields }: Pick<Step, 'fields'>): Fields {
  return Object.fromEntries(Object.entries(fields).map(([name, { to }]) => [name, to]))
}
