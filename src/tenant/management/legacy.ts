import type { ResourceServer } from '../resource-server.ts'
import type { State } from '../state.ts'
import type { View } from './kind.ts'

type OneOrMany<Value> = Value | readonly Value[]

/** What an API was told in 2019, for its role as a client. */
export interface LegacyFields {
  readonly token_exchange?: OneOrMany<{ enabled_subject_token_types?: OneOrMany<string> }>
  readonly client?: OneOrMany<{ grant_types?: OneOrMany<string> }>
}

/**
 * The credentials of a legacy exchange are the API's own: it has a client from the moment on that it is told what that
 * may do.
 */
export function adoptLegacy(state: State, server: ResourceServer, fields: LegacyFields): void {
  const { token_exchange: exchange, client: changes } = fields
  if (exchange === undefined && changes === undefined) return
  const types = all(exchange).flatMap((one) => all(one.enabled_subject_token_types))
  if (exchange !== undefined) server.token_exchange = { enabled_subject_token_types: types }
  const client =
    state.clients.get(server.client_id ?? '') ??
    state.addClient({
      name: server.name ?? server.identifier,
      app_type: 'resource_server',
      resource_server_identifier: server.identifier,
    })
  if (changes !== undefined)
    client.grant_types = all(changes).flatMap((one) => all(one.grant_types))
}

export function legacyView(state: State, server: ResourceServer): View {
  const { token_exchange: exchange, client_id: clientId, subject_type_authorization: _ } = server
  const client = state.clients.get(clientId ?? '')
  return {
    token_exchange: exchange,
    client: client && { grant_types: client.grant_types },
    subject_type_authorization: undefined,
    proof_of_possession: undefined,
    token_encryption: undefined,
  }
}

function all<Value>(value: OneOrMany<Value> | undefined): Value[] {
  return value === undefined ? [] : ([value].flat() as Value[])
}
