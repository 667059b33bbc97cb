import type { Config, Issuer } from '../config/config.ts'
import { readEnvironment, type Environment } from '../config/environment.ts'
import { loadConfig } from '../config/load.ts'
import { unknownName } from '../config/parts.ts'
import { createOutbound, type Outbound } from '../outbound.ts'
import {
  ALL_SCOPES,
  assertScopes,
  openAccess,
  scopesToApply,
  scopesToRead,
  type Access,
} from '../provision/access.ts'
import { apply } from '../provision/apply.ts'
import { createBlanks, type Blank } from '../provision/blanks.ts'
import {
  clientCredentials,
  ownCredentials,
  toldCredentials,
  type Variables,
} from '../provision/credentials.ts'
import { desired, isProvisioned, type Desired } from '../provision/desired.ts'
import type { Management } from '../provision/management.ts'
import { isSettled, plan, type Step } from '../provision/plan.ts'
import { readPresent, type Present } from '../provision/present.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { envText, readEnvFile, writeEnvFile } from './provision/env-file.ts'
import { shown, type TenantPlan } from './provision/print.ts'
import { runSingle, singleOf } from './provision/single.ts'

/** Sets tenants up for the routes. Reads; changes only with `--apply`; deletes nothing. */
export const command = defineCommand({
  summary: 'Say what the Auth0 tenant lacks for the routes: exit 0 when nothing, else 2.',
  positionals: '[resource-server ID | client-grant ID]',
  flags: {
    set: {
      type: 'string',
      value: 'FIELD=VALUE',
      multiple: true,
      summary: 'of one object: a value is JSON or text; repeatable',
    },
    apply: { type: 'boolean', summary: 'do it' },
    issuer: { type: 'string', value: 'NAME', summary: 'of this issuer alone (default: all)' },
    'write-env': {
      type: 'string',
      value: 'FILE',
      summary: 'write unset variables there; - prints them',
    },
    'prune-scopes': { type: 'boolean', summary: 'take away scopes that nothing asks for' },
    scopes: { type: 'boolean', summary: 'list the Management API scopes it may need' },
  },
  formats: ['text', 'json'],
  async run({ config: file, format, flags, positionals }) {
    const named = singleOf(positionals, flags.set)
    if (flags.scopes) {
      process.stdout.write(`${ALL_SCOPES.join('\n')}\n`)
      return EXIT.well
    }
    const envFile = flags['write-env']
    if (envFile !== undefined && !flags.apply) throw new UsageError('--write-env needs --apply')
    const known = envFile === undefined || envFile === '-' ? {} : await readEnvFile(envFile)
    const environment = { ...known, ...process.env }
    const { standIn, list: blanks } = createBlanks()
    const config = await loadConfig(file, { environment, standIn })
    const issuers = issuersOf(config, flags.issuer)
    if (named === undefined && flags.apply && envFile === undefined)
      refuseUnset(config, issuers, blanks)
    const outbound = createOutbound({ timeoutMs: TIMEOUT_MS, maxBytes: LARGEST_ANSWER })
    try {
      const seen = readEnvironment(file, environment)
      const options = { pruneScopes: flags['prune-scopes'] }
      if (named !== undefined) {
        const [issuer, ...others] = issuers
        if (others.length > 0) throw new UsageError('--issuer NAME is needed: there are several')
        const asked = { named, issuer: issuer!, environment: seen, outbound, format }
        return await runSingle({ ...asked, options, isApplied: flags.apply })
      }
      const tenants: Tenant[] = []
      for (const issuer of issuers) {
        tenants.push(await openTenant({ config, issuer, blanks, environment: seen, outbound }))
      }
      const plans = tenants.map((tenant) => planOf(tenant, options))
      if (!flags.apply || format === 'text') process.stdout.write(shown(plans, format))
      const isDone = plans.every(({ steps }) => isSettled(steps))
      if (!flags.apply) return isDone ? EXIT.well : EXIT.drift
      await applyAll(tenants, plans, { ...options, envFile })
      if (format === 'json') process.stdout.write(shown(plans, format))
      return EXIT.well
    } finally {
      await outbound.close()
    }
  },
})

const TIMEOUT_MS = 30_000
const LARGEST_ANSWER = 16 * 1024 * 1024

function issuersOf({ issuers }: Config, name: string | undefined): readonly Issuer[] {
  const some = issuers.filter(isProvisioned)
  if (some.length === 0) {
    throw new UsageError('there is no issuer with profile `auth0` or `auth0-legacy` to set up')
  }
  const named = some.filter((issuer) => name === undefined || issuer.name === name)
  if (named.length > 0) return named
  throw new UsageError(
    unknownName(
      'issuer',
      name ?? '',
      some.map((issuer) => issuer.name),
    ),
  )
}

/** What is made and then known to nobody is of no use. */
function refuseUnset(config: Config, issuers: readonly Issuer[], blanks: readonly Blank[]): void {
  const apis = config.apis.filter(({ issuer }) => issuers.includes(issuer)).map(({ name }) => name)
  const own = blanks.filter(({ api }) => apis.includes(api)).map(({ variable }) => variable)
  if (own.length === 0) return
  const names = [...new Set(own)].join(', ')
  throw new UsageError(`--write-env FILE is needed: nothing sets ${names}`)
}

interface Tenant {
  readonly issuer: Issuer
  readonly access: Access
  readonly management: Management
  readonly wanted: Desired
  readonly present: Present
  /** Those of its APIs. */
  readonly blanks: readonly Blank[]
  /** Of its APIs, by name. */
  readonly audiences: ReadonlyMap<string, string>
}

interface OpenOptions {
  readonly config: Config
  readonly issuer: Issuer
  readonly blanks: readonly Blank[]
  readonly environment: Environment
  readonly outbound: Outbound
}

/** Reads all that a plan is made of. */
async function openTenant(options: OpenOptions): Promise<Tenant> {
  const { config, issuer, environment, outbound } = options
  const own = config.apis.filter((api) => api.issuer === issuer)
  const audiences = new Map(own.map(({ name, audience }) => [name, audience]))
  const blanks = options.blanks.filter(({ api }) => audiences.has(api))
  const wanted = await desired(config, issuer, blanks)
  const access = await openAccess(issuer, environment, outbound)
  assertScopes(access, scopesToRead(wanted))
  // Auth0's package takes a moment to load, and no other command needs it.
  const { createManagement } = await import('../provision/management.ts')
  const management = createManagement({ ...access, outbound })
  const present = await readPresent(management, wanted)
  return { issuer, access, management, wanted, present, blanks, audiences }
}

function planOf(tenant: Tenant, options: { readonly pruneScopes: boolean }): TenantPlan {
  const { issuer, access, wanted, present } = tenant
  return { issuer: issuer.name, url: access.baseUrl, steps: plan(wanted, present, options) }
}

interface ApplyAllOptions {
  readonly pruneScopes: boolean
  readonly envFile: string | undefined
}

/** Nothing is changed before everything that can be known beforehand is known to be in order. */
async function applyAll(
  tenants: readonly Tenant[],
  plans: readonly TenantPlan[],
  { pruneScopes, envFile }: ApplyAllOptions,
): Promise<void> {
  for (const [index, { access }] of tenants.entries()) {
    assertScopes(access, scopesToApply(plans[index]!.steps))
  }
  const keep = keeper(envFile)
  for (const tenant of tenants) await applyOne(tenant, pruneScopes, keep)
  if (envFile === '-') process.stdout.write(envText(keep.variables()))
}

interface Keeper {
  (variables: Variables): Promise<void>
  variables(): Variables
}

/** Each is in the file before the next change is made. */
function keeper(envFile: string | undefined): Keeper {
  const kept: Record<string, string> = {}
  const keep = async (variables: Variables): Promise<void> => {
    Object.assign(kept, variables)
    const isFile = envFile !== undefined && envFile !== '-'
    if (isFile && Object.keys(variables).length > 0) await writeEnvFile(envFile, variables)
  }
  return Object.assign(keep, { variables: () => kept })
}

async function applyOne(tenant: Tenant, pruneScopes: boolean, keep: Keeper): Promise<void> {
  const { management, wanted, blanks, audiences, present } = tenant
  const isThere = (api: string): boolean => present.servers.has(audiences.get(api) ?? '')
  await keep(ownCredentials(blanks, isThere))
  const settled = await apply(management, wanted, {
    pruneScopes,
    onStep: tell,
    onAnswer: async ({ kind, name }, answer) => {
      if (kind === 'client') await keep(clientCredentials(blanks, name, answer))
    },
  })
  const missing = blanks.filter(({ variable }) => keep.variables()[variable] === undefined)
  await keep(toldCredentials(missing, settled, audiences))
}

/** Progress is for whoever looks on, and no part of the result. */
function tell({ action, kind, name }: Step): void {
  process.stderr.write(`${action === 'create' ? 'creating' : 'changing'} ${kind} ${name}\n`)
}
