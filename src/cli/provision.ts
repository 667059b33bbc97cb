import type { Config, Issuer } from '../config/config.ts'
import { readEnvironment } from '../config/environment.ts'
import { loadConfig } from '../config/load.ts'
import { unknownName } from '../config/parts.ts'
import { createOutbound } from '../outbound.ts'
import { ALL_SCOPES, assertScopes, REPLACE_SCOPES, scopesToApply } from '../provision/access.ts'
import { assertDeletable } from '../provision/apply.ts'
import { createBlanks, type Blank } from '../provision/blanks.ts'
import type { Variables } from '../provision/credentials.ts'
import { isProvisioned } from '../provision/desired.ts'
import { isSettled } from '../provision/plan.ts'
import type { PlanOptions, Step } from '../provision/step.ts'
import { defineCommand, EXIT, UsageError } from './command.ts'
import { envText, readEnvFile, writeEnvFile } from './provision/env-file.ts'
import { shown } from './provision/print.ts'
import { exportOf } from './provision/export.ts'
import { runSingle, singleOf } from './provision/single.ts'
import {
  applyTenant,
  openTenant,
  planOf,
  type Tenant,
  type TenantPlan,
} from './provision/tenant.ts'

/** Sets tenants up for the routes. Reads; changes only with `--apply`; deletes only with `--replace`. */
export const command = defineCommand({
  summary: 'List what the Auth0 tenant lacks for the routes: exit 0 if nothing, else 2.',
  positionals: '[resource-server ID | client-grant ID]',
  flags: {
    set: {
      type: 'string',
      value: 'FIELD=VALUE',
      multiple: true,
      summary: 'set a field of the named object: JSON or text; repeatable',
    },
    apply: { type: 'boolean', summary: 'make the changes' },
    issuer: { type: 'string', value: 'NAME', summary: 'only for this issuer (default: all)' },
    'write-env': {
      type: 'string',
      value: 'FILE',
      summary: 'write unset variables to FILE; - prints them',
    },
    'prune-scopes': { type: 'boolean', summary: 'remove scopes that no route needs' },
    replace: { type: 'boolean', summary: 'delete and recreate what cannot be changed' },
    scopes: { type: 'boolean', summary: 'list the Management API scopes that it may need' },
  },
  formats: ['text', 'json', 'terraform', 'curl', 'auth0-deploy-cli'],
  async run({ config: file, format, flags, positionals }) {
    const named = singleOf(positionals, flags.set)
    if (flags.scopes) {
      const all = [...ALL_SCOPES, ...(flags.replace ? REPLACE_SCOPES : [])]
      process.stdout.write(`${all.join('\n')}\n`)
      return EXIT.well
    }
    const exporting = exportOf(format)
    if (exporting && (flags.apply || named !== undefined)) {
      throw new UsageError(`--format ${format} prints the whole plan, and applies nothing`)
    }
    const envFile = flags['write-env']
    if (envFile !== undefined && !flags.apply) throw new UsageError('--write-env needs --apply')
    const known = envFile === undefined || envFile === '-' ? {} : await readEnvFile(envFile)
    const environment = { ...known, ...process.env }
    const { list: blanks, variableOf, ...reading } = createBlanks()
    const config = await loadConfig(file, { environment, ...reading })
    const issuers = issuersOf(config, flags.issuer)
    if (named === undefined && flags.apply && envFile === undefined)
      refuseUnset(config, issuers, blanks)
    const outbound = createOutbound({ timeoutMs: TIMEOUT_MS, maxBytes: LARGEST_ANSWER })
    try {
      const seen = readEnvironment(file, environment)
      const options = { pruneScopes: flags['prune-scopes'], replace: flags.replace }
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
      if (exporting) {
        const [tenant, ...others] = tenants
        if (others.length > 0) throw new UsageError('--issuer NAME is needed: there are several')
        const { access, ...parts } = tenant!
        const { steps } = plans[0]!
        process.stdout.write(exporting({ ...parts, url: access.baseUrl, steps, variableOf }))
        return isSettled(steps) ? EXIT.well : EXIT.drift
      }
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

/** Refuses to create credentials that would be written nowhere. */
function refuseUnset(config: Config, issuers: readonly Issuer[], blanks: readonly Blank[]): void {
  const apis = config.apis.filter(({ issuer }) => issuers.includes(issuer)).map(({ name }) => name)
  const own = blanks.filter(({ api }) => apis.includes(api)).map(({ variable }) => variable)
  if (own.length === 0) return
  const names = [...new Set(own)].join(', ')
  throw new UsageError(`--write-env FILE is needed: nothing sets ${names}`)
}

interface ApplyAllOptions extends PlanOptions {
  readonly envFile: string | undefined
}

/** Checks everything that can be checked beforehand, for all tenants, before it changes anything. */
async function applyAll(
  tenants: readonly Tenant[],
  plans: readonly TenantPlan[],
  { envFile, ...options }: ApplyAllOptions,
): Promise<void> {
  for (const [index, { access }] of tenants.entries()) {
    const { steps } = plans[index]!
    assertDeletable(steps, options)
    assertScopes(access, scopesToApply(steps))
  }
  const kept: Record<string, string> = {}
  const keep = async (variables: Variables): Promise<void> => {
    Object.assign(kept, variables)
    const isFile = envFile !== undefined && envFile !== '-'
    if (isFile && Object.keys(variables).length > 0) await writeEnvFile(envFile, variables)
  }
  for (const tenant of tenants) await applyTenant(tenant, { ...options, keep, onStep: tell })
  if (envFile === '-') process.stdout.write(envText(kept))
}

const VERBS = { create: 'creating', update: 'changing', replace: 'replacing' } as const

/** Prints progress on standard error, because it is not part of the result. */
function tell({ action, kind, name }: Step): void {
  if (action !== 'unchanged') process.stderr.write(`${VERBS[action]} ${kind} ${name}\n`)
}
