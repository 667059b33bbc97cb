import type { Client } from '../client.ts'
import {
  changedCredential,
  createdCredential,
  credentialOf,
  credentialView,
  removeCredential,
} from './credentials.ts'
import { rotateSecret } from './clients.ts'
import { Failure } from './failure.ts'
import type { Kind, Scopes, View } from './kind.ts'
import { assertKnown, CHECKPOINT, flagOf, PAGE, pageOf } from './paging.ts'

/** A request whose token has a scope for the operation. */
export interface Call {
  readonly scopes: Scopes
  readonly query: URLSearchParams
  /** The names in the path after the kind: the object's, then that of its part, such as a credential. */
  readonly names: readonly string[]
  readonly body: unknown
  /** Reads the objects of a kind, as they are or, with a fault, as they were a while ago. */
  readonly read: (kind: Kind) => readonly View[]
}

export interface Answer {
  readonly status: 200 | 201 | 204
  readonly body?: unknown
}

export interface Operation {
  readonly method: 'get' | 'post' | 'patch' | 'delete'
  /** Below the Management API, for example `clients/:id`. */
  readonly path: string
  /** Any of these is enough. */
  readonly scopes: readonly string[]
  /** @throws {Failure} the call is refused */
  run(call: Call): Answer
}

/** The operations on one kind of object. */
export function operationsOf(kind: Kind): readonly Operation[] {
  const { path, noun } = kind
  const fresh = (id: string, { scopes }: Call): View =>
    kind.shown(found(kind, kind.views(), id), scopes)
  return [
    { method: 'get', path, scopes: kind.readable, run: (call) => listed(kind, call) },
    {
      method: 'post',
      path,
      scopes: [`create:${noun}`],
      run: (call) => ({ status: 201, body: fresh(kind.create(call.body, call.scopes), call) }),
    },
    {
      method: 'get',
      path: `${path}/:id`,
      scopes: kind.readable,
      run(call) {
        assertKnown(call.query, ['fields', 'include_fields'])
        const view = found(kind, call.read(kind), call.names[0] ?? '')
        return { status: 200, body: narrowed(kind.shown(view, call.scopes), call.query) }
      },
    },
    {
      method: 'patch',
      path: `${path}/:id`,
      scopes: [`update:${noun}`],
      run(call) {
        const id = kind.idOf(found(kind, kind.views(), call.names[0] ?? ''))
        kind.update(id, call.body, call.scopes)
        return { status: 200, body: fresh(id, call) }
      },
    },
    {
      method: 'delete',
      path: `${path}/:id`,
      scopes: [`delete:${noun}`],
      run(call) {
        const [name = ''] = call.names
        const view = kind.views().find((one) => kind.isNamed(one, name))
        // Deleting a missing object succeeds.
        if (view !== undefined) kind.remove(kind.idOf(view))
        return { status: 204 }
      },
    },
  ]
}

function listed(kind: Kind, { query, scopes, read }: Call): Answer {
  const { paging, filters } = kind
  const checkpoints = paging.checkpoints ? CHECKPOINT : []
  const chosen = Object.keys(filters)
  assertKnown(query, [...PAGE, ...checkpoints, ...chosen, 'fields', 'include_fields'])
  const views = read(kind).filter((view) =>
    chosen.every((name) => !query.has(name) || filters[name]?.(view, query.getAll(name))),
  )
  const seen = views.map((view) => kind.shown(view, scopes))
  const body = pageOf(seen, query, paging, kind.idOf)
  return { status: 200, body: narrowedAll(body, query, paging.noun) }
}

function narrowedAll(body: unknown, query: URLSearchParams, noun: string): unknown {
  if (Array.isArray(body)) return body.map((view: View) => narrowed(view, query))
  const page = body as Readonly<Record<string, readonly View[]>>
  return { ...page, [noun]: page[noun]?.map((view) => narrowed(view, query)) }
}

/** `fields` names the members that are wanted, or with `include_fields=false` those that are not. */
function narrowed(view: View, query: URLSearchParams): View {
  const names = query.get('fields')?.split(',')
  const wanted = flagOf(query, 'include_fields') ?? true
  if (names === undefined) return view
  return Object.fromEntries(
    Object.entries(view).filter(([name]) => names.includes(name) === wanted),
  )
}

/** @throws {Failure} 404 */
function found(kind: Kind, views: readonly View[], name: string): View {
  return views.find((view) => kind.isNamed(view, name)) ?? kind.missing()
}

/** The operations on a client's credentials and its secret. */
export function clientOperations(
  clients: Kind,
  clientOf: (id: string) => Client | undefined,
  now: () => number,
): readonly Operation[] {
  const client = ({ names: [id = ''] }: Call): Client => clientOf(id) ?? clients.missing()
  const credential = (call: Call) => credentialOf(client(call), call.names[1] ?? '')
  const path = 'clients/:id/credentials'
  const noun = 'client_credentials'
  return [
    {
      method: 'get',
      path,
      scopes: [`read:${noun}`],
      run: (call) => ({ status: 200, body: client(call).credentials.map(credentialView) }),
    },
    {
      method: 'post',
      path,
      scopes: [`create:${noun}`],
      run: (call) => ({ status: 201, body: createdCredential(client(call), call.body, now()) }),
    },
    {
      method: 'get',
      path: `${path}/:credential`,
      scopes: [`read:${noun}`],
      run: (call) => ({ status: 200, body: credentialView(credential(call)) }),
    },
    {
      method: 'patch',
      path: `${path}/:credential`,
      scopes: [`update:${noun}`],
      run: (call) => ({ status: 200, body: changedCredential(credential(call), call.body, now()) }),
    },
    {
      method: 'delete',
      path: `${path}/:credential`,
      scopes: [`delete:${noun}`],
      run(call) {
        removeCredential(client(call), call.names[1] ?? '')
        return { status: 204 }
      },
    },
    {
      method: 'post',
      path: 'clients/:id/rotate-secret',
      scopes: ['update:client_keys'],
      run(call) {
        const one = client(call)
        if (one.client_secret === undefined) {
          throw new Failure(400, 'operation_not_supported', 'The client has no secret')
        }
        rotateSecret(one)
        const view = found(clients, clients.views(), one.client_id)
        return { status: 200, body: clients.shown(view, call.scopes) }
      },
    },
  ]
}
