import type { ResourceServer } from '../resource-server.ts'
import type { State } from '../state.ts'
import type { View } from './kind.ts'

type OneOrMany<Value> = Value | readonly Value[]

/** The fields by which an API of 2019 gets its role as a client. */
export interface LegacyFields {
  readonly token_exchange?: OneOrMany<{ enabled_subject_token_types?: OneOrMany<string> }>
  readonly client?: OneOrMany<{ grant_types?: OneOrMany<string> }>
}

/**
 * In a legacy exchange the API authenticates as a client of its own, which is created when the API gets these fields.
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
