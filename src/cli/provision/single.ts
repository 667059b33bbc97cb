import type { Issuer } from '../../config/config.ts'
import type { Environment } from '../../config/environment.ts'
import type { Outbound } from '../../outbound.ts'
import { assertScopes, openAccess, scopesToApply } from '../../provision/access.ts'
import type { PlanOptions } from '../../provision/step.ts'
import { applySingle, planSingle, type Single } from '../../provision/single.ts'
import { EXIT, UsageError } from '../command.ts'
import { shown } from './print.ts'

type Named = Omit<Single, 'generation'>

const KINDS = ['resource-server', 'client-grant'] as const

/** The object that the command line names; undefined if it names none. */
export function singleOf(
  [name, id, ...more]: readonly string[],
  settings: readonly string[],
): Named | undefined {
  if (name === undefined) {
    if (settings.length > 0)
      throw new UsageError('--set needs `resource-server ID` or `client-grant ID`')
    return undefined
  }
  const kind = KINDS.find((one) => one === name)
  if (kind === undefined)
    throw new UsageError(`there is no kind \`${name}\`; there are ${KINDS.join(', ')}`)
  if (id === undefined || more.length > 0) throw new UsageError(`name one ${kind} by its ID`)
  if (settings.length === 0) throw new UsageError('--set FIELD=VALUE is needed')
  return { kind, id, fields: Object.fromEntries(settings.map(settingOf)) }
}

function settingOf(written: string): readonly [string, unknown] {
  const [, name, value] = /^([a-z_]+)=([^]*)$/.exec(written) ?? []
  if (name === undefined || value === undefined) {
    throw new UsageError('--set must be FIELD=VALUE, for example token_lifetime=600')
  }
  try {
    return [name, JSON.parse(value)]
  } catch {
    return [name, value]
  }
}

export interface SingleOptions {
  readonly named: Named
  readonly issuer: Issuer
  readonly environment: Environment
  readonly outbound: Outbound
  readonly format: string
  readonly options: PlanOptions
  readonly isApplied: boolean
}

/** Shows the plan for one object, and carries it out with `--apply`. */
export async function runSingle(given: SingleOptions): Promise<number> {
  const { named, issuer, environment, outbound, format, options, isApplied } = given
  const generation = issuer.profile === 'auth0-legacy' ? 'legacy' : 'current'
  const single: Single = { ...named, generation }
  const access = await openAccess(issuer, environment, outbound)
  const noun = single.kind === 'client-grant' ? 'client_grants' : 'resource_servers'
  assertScopes(access, [
    `read:${noun}`,
    ...(options.replace ? (['read:client_grants'] as const) : []),
  ])
  const { createManagement } = await import('../../provision/management.ts')
  const management = createManagement({ ...access, outbound })
  const step = await planSingle(management, single, options)
  process.stdout.write(shown([{ issuer: issuer.name, url: access.baseUrl, steps: [step] }], format))
  if (step.action === 'unchanged') return EXIT.well
  if (!isApplied) return EXIT.drift
  assertScopes(access, scopesToApply([step]))
  await applySingle(management, single, options)
  return EXIT.well
}
