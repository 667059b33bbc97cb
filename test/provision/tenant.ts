/** A tenant, and what a configuration wants of it. */
import type { TestContext } from 'node:test'
import { readConfig } from '../../src/config/load.ts'
import { createOutbound } from '../../src/outbound.ts'
import { openAccess } from '../../src/provision/access.ts'
import { createBlanks } from '../../src/provision/blanks.ts'
import { desired, type Desired } from '../../src/provision/desired.ts'
import { createManagement, type Management } from '../../src/provision/management.ts'
import { plan, type Step } from '../../src/provision/plan.ts'
import { readPresent } from '../../src/provision/present.ts'
import { createTenant, type Tenant, type TenantOptions } from '../../src/tenant/index.ts'
import { changed } from '../config/given.ts'

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
  readonly steps: (wanted?: Desired) => Promise<readonly Step[]>
}

export async function start(
  t: TestContext,
  wants: Wants = {},
  options: TenantOptions = {},
): Promise<Setting> {
  const tenant = await createTenant({ empty: true, ...options })
  const outbound = createOutbound()
  t.after(async () => {
    await outbound.close()
    await tenant.close()
  })
  const management = await managementOf(tenant, outbound)
  const wanted = await wantedOf(tenant.url, wants)
  return {
    ...{ tenant, management, wanted },
    steps: async (other = wanted) =>
      plan(other, await readPresent(management, other), { pruneScopes: false }),
  }
}

async function managementOf(
  { url, management }: Tenant,
  outbound: ReturnType<typeof createOutbound>,
): Promise<Management> {
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

export function done(steps: readonly Step[]): readonly string[] {
  return steps
    .filter(({ action }) => action !== 'unchanged')
    .map(({ action, kind, fields }) => `${action} ${kind} ${Object.keys(fields).join(' ')}`)
}
