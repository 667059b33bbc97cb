import type { Paging } from './paging.ts'

/** An object as the Management API returns it. */
export type View = Readonly<Record<string, unknown>>

export type Scopes = ReadonlySet<string>

/** Which Auth0 the tenant imitates: today's, or that of 2019. */
export type Generation = 'current' | 'legacy'

/** One kind of object: the operations on it, and how it is returned. */
export interface Kind {
  /** Its folder of the Management API, for example `client-grants`. */
  readonly path: string
  /** What its scopes end with, for example `client_grants`. */
  readonly noun: string
  /** Any of these scopes allows reading. */
  readonly readable: readonly string[]
  readonly paging: Paging
  /** The query parameters that filter the list; each function gets the given values. */
  readonly filters: Readonly<Record<string, (view: View, values: readonly string[]) => boolean>>
  /** All objects of the kind, as they are now. */
  views(): readonly View[]
  idOf(view: View): string
  /** Whether this is one of the object's names. */
  isNamed(view: View, name: string): boolean
  /** The view without the members that these scopes do not show. */
  shown(view: View, scopes: Scopes): View
  /** Always throws: the answer for a missing object. @throws {Failure} 404 */
  missing(): never
  /** @returns its id @throws {Failure} 400, 403, 404, 409 */
  create(body: unknown, scopes: Scopes): string
  /** @throws {Failure} 400, 403 */
  update(id: string, body: unknown, scopes: Scopes): void
  /** @throws {Failure} 400 */
  remove(id: string): void
}

/** The members that are not undefined. */
export function present(members: Readonly<Record<string, unknown>>): View {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}

/** Those members that have one of these names. */
export function picked(body: View, names: readonly string[]): View {
  return Object.fromEntries(Object.entries(body).filter(([name]) => names.includes(name)))
}

/** The stored settings with the changes; null removes a setting. Undefined if none is left. */
export function kept(before: View | undefined, changes: View): View | undefined {
  const all = Object.entries({ ...before, ...changes }).filter(([, value]) => value !== null)
  return all.length === 0 ? undefined : Object.fromEntries(all)
}
