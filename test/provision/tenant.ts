/** A tenant, and what a configuration wants of it. */
import assert from 'node:assert/strict'
import { readConfig } from '../../src/config/load.ts'
import { createOutbound, type Outbound } from '../../src/outbound.ts'
import { openAccess } from '../../src/provision/access.ts'
import { createBlanks } from '../../src/provision/blanks.ts'
import { desired, type Desired } from '../../src/provision/desired.ts'
import { createManagement, type Management } from '../../src/provision/management.ts'
import { plan } from '../../src/provision/plan.ts'
import { readPresent } from '../../src/provision/present.ts'
import type { PlanOptions, Step } from '../../src/provision/step.ts'
import { createTenant, type Tenant, type TenantOptions } from '../../src/tenant/index.ts'
import { changed } from '../config/given.ts'
import type { Scope } from '../system.ts'
import { assertAsked, assertContract } from '../tenant/management.ts'
import { signingKey } from '../tenant/signing-key.ts'

export const SOURCE = 'https://storefront.example'
export const TARGET = 'https://orders.internal'

/** One API, one route. Variables that are not in `environment` are blank. */
export function configuration(
  issuer: string,
  changes: Readonly<Record<string, unknown>> = {},
): object {
  return changed(changes, {
    issuers: { tenant: { issuer, profile: 'auth0' } },
    apis: {
      storefront: {
        issuer: 'tenant',
        audience: SOURCE,
        client: { id: '${CLIENT_ID}', secret: '${CLIENT_SECRET}' },
      },
    },
    routes: [
      {
        match: { path: '/orders' },
        authenticate: { api: 'storefront' },
        authorize: { scopes: ['read:orders'] },
        exchange: { audience: TARGET, scopes: ['orders:read', 'orders:list'] },
        proxy: { upstream: 'http://127.0.0.1:9001' },
      },
    ],
  })
}

export interface Wants {
  readonly changes?: Readonly<Record<string, unknown>>
  readonly environment?: Readonly<Record<string, string>>
}

export async function wantedOf(
  issuer: string,
  { changes, environment = {} }: Wants = {},
): Promise<Desired> {
  const { standIn, list } = createBlanks()
  const config = readConfig(configuration(issuer, changes), { environment, standIn })
  return desired(config, config.issuers[0]!, list)
}

export interface Setting {
  readonly tenant: Tenant
  readonly management: Management
  readonly wanted: Desired
  /** What is to be done now. */
  readonly steps: (wanted?: Desired, options?: PlanOptions) => Promise<readonly Step[]>
}

export async function start(
  t: Scope,
  wants: Wants = {},
  options: TenantOptions = {},
): Promise<Setting> {
  const tenant = await createTenant({ empty: true, signingKey, ...options })
  const faults: unknown[] = []
  const own = createOutbound()
  const wanted = await wantedOf(tenant.url, wants)
  const outbound = wanted.generation === 'legacy' ? own : judged(own, faults)
  t.after(async () => {
    await outbound.close()
    await tenant.close()
    assert.deepEqual(faults, [], 'a call is not as Auth0 describes it')
  })
  const management = await managementOf(tenant, outbound)
  return {
    ...{ tenant, management, wanted },
    steps: async (other = wanted, options = { pruneScopes: false }) =>
      plan(other, await readPresent(management, other), options),
  }
}

/** Holds every call of the Management API, and its answer, against Auth0's own description of it. */
function judged(outbound: Outbound, faults: unknown[]): Outbound {
  return {
    ...outbound,
    async fetch(url, init = {}) {
      const [, target] = /\/api\/v2(\/.*)$/.exec(url) ?? []
      const answer = await outbound.fetch(url, init)
      if (target === undefined) return answer
      const { method = 'GET', body } = init
      const asked = { method, target, body: parsed(body) }
      try {
        assertAsked(asked)
        assertContract(asked, {
          status: answer.status,
          body: parsed(await answer.clone().text()) as Record<string, unknown>,
        })
      } catch (error) {
        // Thrown here, it would be taken for a failure of the network.
        faults.push(error)
      }
      return answer
    },
  }
}

function parsed(text: string | undefined): unknown {
  return text === undefined || text === '' ? undefined : JSON.parse(text)
}

async function managementOf({ url, management }: Tenant, outbound: Outbound): Promise<Management> {
  const config = readConfig(configuration(url), {
    environment: { CLIENT_ID: 'any', CLIENT_SECRET: 'any' },
  })
  const environment = {
    AUTH0_CLIENT_ID: management.clientId,
    AUTH0_CLIENT_SECRET: management.clientSecret,
  }
  const access = await openAccess(config.issuers[0]!, environment, outbound)
  return createManagement({ ...access, outbound })
}

/** All that it holds, with each id and each secret that it chose in words that are the same every time. */
export function wholeOf({ state }: Tenant): unknown {
  const servers = [...state.resourceServers.values()]
  const clients = [...state.clients.values()]
  const grants = [...state.clientGrants.values()]
  const words = new Map<unknown, string>([
    ...servers.map(({ id, identifier }) => [id, `id of ${identifier}`] as const),
    ...clients.map(({ client_id: id, name }) => [id, `client ${name}`] as const),
    ...clients.map(({ client_secret: secret, name }) => [secret, `secret of ${name}`] as const),
    ...clients.flatMap(({ name, credentials }) =>
      credentials.map(({ id, kid, subject_dn: subject, thumbprint_sha256: print }) => {
        return [id, `credential ${kid ?? subject ?? print} of ${name}`] as const
      }),
    ),
    ...grants.map(({ id, client_id: client, audience, subject_type: type }) => {
      const { name } = state.clients.get(client)!
      return [id, `grant of ${name} for ${audience} as ${type}`] as const
    }),
  ])
  const steady = (value: unknown): unknown =>
    JSON.parse(
      JSON.stringify(value, (name, one: unknown) =>
        name === 'created_at' || name === 'updated_at' ? undefined : (words.get(one) ?? one),
      ),
    )
  const sorted = (list: readonly unknown[]): unknown[] =>
    list
      .map(steady)
      .toSorted((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1))
  return { servers: sorted(servers), clients: sorted(clients), grants: sorted(grants) }
}

export function done(steps: readonly Step[]): readonly string[] {
  return steps
    .filter(({ action }) => action !== 'unchanged')
    .map(({ action, kind, fields }) => `${action} ${kind} ${Object.keys(fields).join(' ')}`)
}

/** Ends as a killed process does: before a call leaves, or before its answer comes. */
export function killed(management: Management, at: number, when: 'before' | 'after'): Management {
  let calls = 0
  const entries = Object.entries(management) as [
    string,
    (...given: unknown[]) => Promise<unknown>,
  ][]
  const wrapped = entries.map(([name, call]) => [
    name,
    async (...given: unknown[]) => {
      const isLast = ++calls === at
      if (isLast && when === 'before') throw new Error('killed')
      const answer = await call(...given)
      if (isLast) throw new Error('killed')
      return answer
    },
  ])
  return Object.fromEntries(wrapped) as unknown as Management
}
