import type { Config, Issuer } from '../../config/config.ts'
import type { Environment } from '../../config/environment.ts'
import type { Outbound } from '../../outbound.ts'
import { assertScopes, openAccess, scopesToRead, type Access } from '../../provision/access.ts'
import { apply } from '../../provision/apply.ts'
import type { Blank } from '../../provision/blanks.ts'
import {
  clientCredentials,
  ownCredentials,
  toldCredentials,
  type Variables,
} from '../../provision/credentials.ts'
import { desired, type Desired } from '../../provision/desired.ts'
import type { Management } from '../../provision/management.ts'
import { plan } from '../../provision/plan.ts'
import { readPresent, type Present } from '../../provision/present.ts'
import type { PlanOptions, Step } from '../../provision/step.ts'

/** One tenant as it was read, and the objects that it should have. */
export interface Tenant {
  readonly issuer: Issuer
  readonly access: Access
  readonly management: Management
  readonly wanted: Desired
  readonly present: Present
  /** The unset variables of its APIs. */
  readonly blanks: readonly Blank[]
  /** The audiences of its APIs, by name. */
  readonly audiences: ReadonlyMap<string, string>
}

export interface OpenOptions {
  readonly config: Config
  readonly issuer: Issuer
  readonly blanks: readonly Blank[]
  readonly environment: Environment
  readonly outbound: Outbound
}

/** Reads everything that a plan needs. */
export async function openTenant(options: OpenOptions): Promise<Tenant> {
  const { config, issuer, environment, outbound } = options
  const own = config.apis.filter((api) => api.issuer === issuer)
  const audiences = new Map(own.map(({ name, audience }) => [name, audience]))
  const blanks = options.blanks.filter(({ api }) => audiences.has(api))
  const wanted = await desired(config, issuer, blanks)
  const access = await openAccess(issuer, environment, outbound)
  assertScopes(access, scopesToRead(wanted))
  // Auth0's package takes a moment to load, and no other command needs it.
  const { createManagement } = await import('../../provision/management.ts')
  const management = createManagement({ ...access, outbound })
  const present = await readPresent(management, wanted)
  return { issuer, access, management, wanted, present, blanks, audiences }
}

/** The steps for one tenant. */
export interface TenantPlan {
  readonly issuer: string
  /** The Management API. */
  readonly url: string
  readonly steps: readonly Step[]
}

export function planOf(
  { issuer, access, wanted, present }: Tenant,
  options: PlanOptions,
): TenantPlan {
  return { issuer: issuer.name, url: access.baseUrl, steps: plan(wanted, present, options) }
}

export interface ApplyOptions extends PlanOptions {
  /** Called with ids, secrets and keys, by their variables, before the next change is made. */
  readonly keep: (variables: Variables) => Promise<void>
  readonly onStep?: (step: Step) => void
}

/** Makes the tenant what is wanted. Generated keys and secrets are stored before they are sent to the tenant. */
export async function applyTenant(tenant: Tenant, options: ApplyOptions): Promise<void> {
  const { management, wanted, blanks, audiences, present } = tenant
  const known = new Set<string>()
  const keep = async (variables: Variables): Promise<void> => {
    for (const name of Object.keys(variables)) known.add(name)
    await options.keep(variables)
  }
  const isThere = (api: string): boolean => present.servers.has(audiences.get(api) ?? '')
  await keep(ownCredentials(blanks, isThere))
  const settled = await apply(management, wanted, {
    ...options,
    onAnswer: async ({ kind, name }, answer) => {
      if (kind === 'client') await keep(clientCredentials(blanks, name, answer))
    },
  })
  const missing = blanks.filter(({ variable }) => !known.has(variable))
  await keep(toldCredentials(missing, settled, audiences))
}
