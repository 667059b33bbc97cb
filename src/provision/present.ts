import type { Desired } from './desired.ts'
import type { WantedClient } from './desired-clients.ts'
import { ProvisionError } from './failure.ts'
import type { Management } from './management.ts'
import type { Fields } from './merge.ts'

/** Those of the wanted objects that the tenant has, as it answered. */
export interface Present {
  /** By identifier. */
  readonly servers: ReadonlyMap<string, Fields>
  /** By their names in plans. */
  readonly clients: ReadonlyMap<string, PresentClient>
  /** The grants of these clients. */
  readonly grants: readonly Fields[]
}

export interface PresentClient {
  readonly id: string
  readonly fields: Fields
  /** Read only if the client is to authenticate without a secret; else empty. */
  readonly credentials: readonly Fields[]
}

/**
 * Reads the tenant, and changes nothing.
 *
 * @throws {ProvisionError} `impossible` if the tenant contradicts the configuration
 */
export async function readPresent(management: Management, wanted: Desired): Promise<Present> {
  const servers = new Map<string, Fields>()
  for (const { identifier } of wanted.servers) {
    const found = await management.server(identifier)
    if (found !== undefined) servers.set(identifier, found)
  }
  const clients = new Map<string, PresentClient>()
  const grants: Fields[] = []
  for (const client of wanted.clients) {
    const found = await readClient(management, client, servers)
    if (found === undefined) continue
    clients.set(client.name, found)
    const isGranted = wanted.grants.some(({ api }) => api === client.name)
    if (isGranted) grants.push(...(await management.grants({ client_id: found.id })))
  }
  return { servers, clients, grants }
}

async function readClient(
  management: Management,
  wanted: WantedClient,
  servers: ReadonlyMap<string, Fields>,
): Promise<PresentClient | undefined> {
  const { name, identifier, proof } = wanted
  const linked = identifier === undefined ? undefined : servers.get(identifier)?.['client_id']
  const id = typeof linked === 'string' ? linked : wanted.id
  if (id === undefined) return undefined
  if (wanted.id !== undefined && wanted.id !== id) {
    impossible(`apis.${name}.client.id is \`${wanted.id}\`, and the API's client is \`${id}\``)
  }
  const fields = await management.client(id)
  if (fields === undefined && identifier === undefined) {
    impossible(`there is no client \`${id}\`: an application is made by whoever logs users in`)
  }
  if (fields === undefined) {
    const advice = 'leave its variable unset, and --write-env tells the id of the one that is made'
    impossible(`apis.${name}.client.id: the tenant has no client \`${id}\`; ${advice}`)
  }
  if (identifier !== undefined && fields['resource_server_identifier'] !== identifier) {
    const other = 'is not made for this API, and that cannot be changed'
    // Just after a change the lists of a tenant may disagree with each other.
    if (linked === undefined) impossible(`apis.${name}.client.id: the client \`${id}\` ${other}`)
  }
  const credentials = proof === undefined ? [] : await management.credentials(id)
  return { id, fields, credentials }
}

function impossible(message: string): never {
  throw new ProvisionError('impossible', message)
}
