import type { Paging } from './paging.ts'

/** An object as the Management API tells it. */
export type View = Readonly<Record<string, unknown>>

export type Scopes = ReadonlySet<string>

/** The Auth0 that the tenant is like: today's, or that of 2019. */
export type Generation = 'current' | 'legacy'

/** One kind of object: what may be done with it, and how it is told. */
export interface Kind {
  /** Its folder of the Management API, for example `client-grants`. */
  readonly path: string
  /** What its scopes end with, for example `client_grants`. */
  readonly noun: string
  /** The scopes that let it be read; any of them is enough. */
  readonly readable: readonly string[]
  readonly paging: Paging
  /** The query parameters that choose some of them; each takes the values that were given. */
  readonly filters: Readonly<Record<string, (view: View, values: readonly string[]) => boolean>>
  /** All of them, as they are now. */
  views(): readonly View[]
  idOf(view: View): string
  /** Whether this is one of its names. */
  isNamed(view: View, name: string): boolean
  /** Without what these scopes do not show. */
  shown(view: View, scopes: Scopes): View
  /** Ends with the answer for one that is not there. @throws {Failure} 404 */
  missing(): never
  /** @returns its id @throws {Failure} 400, 403, 404, 409 */
  create(body: unknown, scopes: Scopes): string
  /** @throws {Failure} 400, 403 */
  update(id: string, body: unknown, scopes: Scopes): void
  /** @throws {Failure} 400 */
  remove(id: string): void
}

/** The members of an object that are there at all. */
export function present(members: Readonly<Record<string, unknown>>): View {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}

/** Those members that have one of these names. */
export function picked(body: View, names: readonly string[]): View {
  return Object.fromEntries(Object.entries(body).filter(([name]) => names.includes(name)))
}

/** What was kept, with what is new: null ends a setting. Undefined where nothing is left. */
export function kept(before: View | undefined, changes: View): View | undefined {
  const all = Object.entries({ ...before, ...changes }).filter(([, value]) => value !== null)
  return all.length === 0 ? undefined : Object.fromEntries(all)
}
