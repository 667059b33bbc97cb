import type { Config } from '../../config/config.ts'
import { createOutbound } from '../../outbound.ts'
import type { Blank } from '../../provision/blanks.ts'
import type { Step } from '../../provision/step.ts'
import type { Tenant } from '../../tenant/tenant.ts'
import { applyTenant, openTenant, planOf } from '../provision/tenant.ts'

/** A configuration, and its variables that are not set yet. */
export interface Unset {
  readonly config: Config
  readonly blanks: readonly Blank[]
}

/** What `behalf provision` did, step by step. */
export interface SetUp {
  /** The plan before: what the tenant lacked. */
  readonly plan: Planned
  /** The calls of the Management API that changed something. */
  readonly calls: number
  readonly milliseconds: number
  /** The plan afterwards. */
  readonly again: Planned
  /** The generated and returned credentials, by their variables. */
  readonly variables: Readonly<Record<string, string>>
}

export interface Planned {
  readonly steps: readonly Step[]
  readonly milliseconds: number
}

const OPTIONS = { pruneScopes: false }

/** Creates in an empty tenant the objects that the routes need, with the real provisioner, over the network. */
export async function setUp(tenant: Tenant, { config, blanks }: Unset): Promise<SetUp> {
  const { clientId, clientSecret } = tenant.management
  const environment = { AUTH0_CLIENT_ID: clientId, AUTH0_CLIENT_SECRET: clientSecret }
  const outbound = createOutbound()
  const open = () =>
    openTenant({ config, issuer: config.issuers[0]!, blanks, environment, outbound })
  const variables: Record<string, string> = {}
  try {
    const [found, planMs] = await timed(open)
    const { steps } = planOf(found, OPTIONS)
    const keep = (more: Readonly<Record<string, string>>): Promise<void> => {
      Object.assign(variables, more)
      return Promise.resolve()
    }
    const [, milliseconds] = await timed(() => applyTenant(found, { ...OPTIONS, keep }))
    const calls = tenant.managementCalls().filter(({ method }) => method !== 'GET').length
    const [now, againMs] = await timed(open)
    return {
      plan: { steps, milliseconds: planMs },
      calls,
      milliseconds,
      variables,
      again: { steps: planOf(now, OPTIONS).steps, milliseconds: againMs },
    }
  } finally {
    await outbound.close()
  }
}

async function timed<Value>(act: () => Promise<Value>): Promise<readonly [Value, number]> {
  const startedAt = performance.now()
  const value = await act()
  return [value, performance.now() - startedAt]
}
