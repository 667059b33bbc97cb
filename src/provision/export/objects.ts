import type { Blank, VariableOf } from '../blanks.ts'
import type { WantedClient } from '../desired-clients.ts'
import type { WantedGrant } from '../desired-grants.ts'
import type { WantedServer } from '../desired-servers.ts'
import type { Desired } from '../desired.ts'
import { ProvisionError } from '../failure.ts'
import { isObject, merged, type Fields } from '../merge.ts'
import type { Present } from '../present.ts'
import type { Step } from '../step.ts'

/** The input of the exports for other tools: a plan, and what it was made from. */
export interface Exported {
  /** The Management API. Ends with a slash. */
  readonly url: string
  readonly wanted: Desired
  readonly present: Present
  readonly steps: readonly Step[]
  /** Variables that are not set yet. */
  readonly blanks: readonly Blank[]
  /** The audiences of the APIs, by name. */
  readonly audiences: ReadonlyMap<string, string>
  /** The variables that stand for secrets: only these are printed. */
  readonly variableOf: VariableOf
}

/** An object as it is to be, whether it exists or not. */
export interface Target<Wanted> {
  readonly step: Step
  readonly wanted: Wanted
  /** The object as the tenant shows it. Undefined: it is to be created. */
  readonly there: Fields | undefined
  /** All wanted fields, merged with what the tenant has; without secrets. */
  readonly fields: Fields
}

export interface Targets {
  readonly servers: readonly Target<WantedServer>[]
  readonly clients: readonly Target<WantedClient>[]
  readonly grants: readonly Target<WantedGrant>[]
}

export const SECRETS: ReadonlySet<string> = new Set(['signing_secret', 'client_secret'])

export function targetsOf({ steps, present }: Exported): Targets {
  const targets: { servers: unknown[]; clients: unknown[]; grants: unknown[] } = {
    servers: [],
    clients: [],
    grants: [],
  }
  for (const step of steps) {
    const { wanted } = step
    const there = presentOf(step, present)
    const target = { step, wanted, there, fields: finalFields(step, there) }
    if (wanted.kind === 'resource-server') targets.servers.push(target)
    else if (wanted.kind === 'client') targets.clients.push(target)
    else targets.grants.push(target)
  }
  return targets as unknown as Targets
}

function presentOf(
  { wanted, id }: Step,
  { servers, clients, grants }: Present,
): Fields | undefined {
  if (id === undefined) return undefined
  if (wanted.kind === 'resource-server') return servers.get(wanted.identifier)
  if (wanted.kind === 'client') return clients.get(wanted.name)?.fields
  return grants.find((grant) => grant['id'] === id)
}

function finalFields({ fields: changes, wanted }: Step, there: Fields | undefined): Fields {
  const names = new Set([...Object.keys(changes), ...(there ? Object.keys(wanted.fields) : [])])
  const known = [...names].filter((name) => !SECRETS.has(name))
  const final = known.map((name) => {
    const change = changes[name]
    return [name, change ? change.to : asIs(name, there?.[name], wanted.fields[name])]
  })
  return Object.fromEntries(final) as Fields
}

/** Tenants show a key by its thumbprint, but set it by its PEM. */
function asIs(name: string, there: unknown, wanted: unknown): unknown {
  if (name !== 'token_encryption' || !isObject(there)) return merged(there, wanted)
  const { thumbprint_sha256: _, ...key } = there['encryption_key'] as Fields
  return merged({ ...there, encryption_key: key }, wanted)
}

/**
 * Refuses unset private keys: a generated key would be another one on each run, so nobody could use its public half.
 *
 * @throws {ProvisionError} `impossible`, which names the variables
 */
export function assertKeys({ blanks }: Exported): void {
  const names = blanks.flatMap(({ option, variable }) => (option === 'privateKey' ? variable : []))
  if (names.length === 0) return
  const message = `what is printed holds public keys: set ${names.join(', ')} first, for example with \`openssl genpkey\``
  throw new ProvisionError('impossible', message)
}

/** Refuses fields of 2019, which today's tools do not support. */
export function assertCurrent({ wanted }: Exported, tool: string): void {
  if (wanted.generation === 'current') return
  const message = `${tool} knows nothing of the exchange of 2019: \`--format curl\` prints its calls`
  throw new ProvisionError('impossible', message)
}

/** The name of the API with this identifier; undefined for a resource server that is only a target. */
export function apiOf({ audiences }: Exported, identifier: string): string | undefined {
  return [...audiences].find(([, audience]) => audience === identifier)?.[0]
}

/** A name for comments: on one line, whatever it contains. */
export function quoted(text: string): string {
  return escaped(JSON.stringify(text))
}

/** JSON without characters that terminals and line readers interpret. */
export function escaped(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
