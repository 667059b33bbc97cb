import { ClientGrantsClient } from 'auth0/clientGrants'
import { ClientsClient } from 'auth0/clients'
import { ResourceServersClient } from 'auth0/resourceServers'
import { masked } from '../log.ts'
import type { Outbound } from '../outbound.ts'
import { ConflictError, ProvisionError } from './failure.ts'
import type { Fields } from './merge.ts'

/** The calls that setting a tenant up needs. Reading a missing object gives undefined; deleting one succeeds. */
export interface Management {
  server(identifier: string): Promise<Fields | undefined>
  createServer(body: Fields): Promise<Fields>
  updateServer(id: string, body: Fields): Promise<Fields>
  /** The tenant also deletes its client, and all grants for it. */
  deleteServer(id: string): Promise<void>
  client(id: string): Promise<Fields | undefined>
  createClient(body: Fields): Promise<Fields>
  updateClient(id: string, body: Fields): Promise<Fields>
  credentials(clientId: string): Promise<readonly Fields[]>
  createCredential(clientId: string, body: Fields): Promise<Fields>
  deleteCredential(clientId: string, id: string): Promise<void>
  /** All grants of a client, or all for an audience. */
  grants(of: GrantsOf): Promise<readonly Fields[]>
  grant(id: string): Promise<Fields | undefined>
  createGrant(body: Fields): Promise<Fields>
  updateGrant(id: string, body: Fields): Promise<Fields>
  deleteGrant(id: string): Promise<void>
}

export type GrantsOf = { readonly client_id: string } | { readonly audience: string }

export interface ManagementOptions {
  /** For example `https://tenant.eu.auth0.com/api/v2/`. */
  readonly baseUrl: string
  readonly token: string
  readonly outbound: Outbound
}

/** A call is sent again after 408, 429 and 5xx, when the answer says so, else after 1 s, 2 s, 4 s. */
const RETRIES = 4
const TIMEOUT_SECONDS = 30

/**
 * The Management API through Auth0's own package. Only its sub-clients are used, because the package as a whole insists on
 * `https:`. They send through `outbound`, so the limits for issuers hold here: no redirects, bounded answers, TLS 1.2.
 */
export function createManagement({ baseUrl, token, outbound }: ManagementOptions): Management {
  const options = {
    baseUrl: baseUrl.replace(/\/$/, ''),
    token,
    maxRetries: RETRIES,
    timeoutInSeconds: TIMEOUT_SECONDS,
    fetch: outbound.fetch as unknown as typeof fetch,
  }
  const servers = new ResourceServersClient(options)
  const clients = new ClientsClient(options)
  const grants = new ClientGrantsClient(options)
  return {
    server: (identifier) => found(servers.get(identifier)),
    createServer: (body) => made(servers.create(body as never)),
    updateServer: (id, body) => made(servers.update(id, body as never)),
    client: (id) => found(clients.get(id)),
    createClient: (body) => made(clients.create(body as never)),
    updateClient: (id, body) => made(clients.update(id, body as never)),
    credentials: async (clientId) => (await found(clients.credentials.list(clientId))) ?? [],
    createCredential: (clientId, body) => made(clients.credentials.create(clientId, body as never)),
    deleteServer: (id) => gone(servers.delete(id)),
    deleteCredential: (clientId, id) => gone(clients.credentials.delete(clientId, id)),
    deleteGrant: (id) => gone(grants.delete(id)),
    async grants(of) {
      const all: Fields[] = []
      try {
        for await (const grant of await grants.list({ ...of, take: 100 })) {
          all.push(grant as unknown as Fields)
        }
      } catch (error) {
        refuse(error)
      }
      return all
    },
    grant: (id) => found(grants.get(id)),
    createGrant: (body) => made(grants.create(body as never)),
    updateGrant: (id, body) => made(grants.update(id, body as never)),
  }
}

async function found<Answer>(call: PromiseLike<Answer>): Promise<(Answer & Fields) | undefined> {
  try {
    return (await call) as Answer & Fields
  } catch (error) {
    return (error as Refusal).statusCode === 404 ? undefined : refuse(error)
  }
}

async function made(call: PromiseLike<unknown>): Promise<Fields> {
  try {
    return (await call) as Fields
  } catch (error) {
    return refuse(error)
  }
}

async function gone(call: PromiseLike<unknown>): Promise<void> {
  await found(call)
}

/** The error that the package throws for an answer other than 2xx. */
interface Refusal {
  readonly statusCode?: number
  readonly body?: { readonly message?: unknown }
}

/** The package's errors hold the request with its token, so they are not kept as `cause`. */
function refuse(error: unknown): never {
  const { statusCode: status, body } = error as Refusal
  const said = typeof body?.message === 'string' ? body.message : String((error as Error).name)
  const message = `${status ?? 'no answer'}: ${masked(said)}`
  if (status === 409) throw new ConflictError(message)
  if (status === 401 || status === 403) throw new ProvisionError('management_refused', message)
  if (status !== undefined && status < 500 && status !== 429 && status !== 408) {
    throw new ProvisionError('change_refused', message)
  }
  throw new ProvisionError('management_unavailable', message)
}
