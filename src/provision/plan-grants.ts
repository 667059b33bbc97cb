import { changesOf } from './changes.ts'
import type { WantedGrant } from './desired-grants.ts'
import { defined, type Fields } from './merge.ts'
import type { Present } from './present.ts'
import { created, updated, type Gone, type PlanOptions, type Step } from './step.ts'

/** The steps for the grants. */
export function grantSteps(
  wanted: readonly WantedGrant[],
  present: Present,
  options: PlanOptions,
): readonly Step[] {
  const found = new Map(wanted.map((one) => [one, presentGrant(one, present)]))
  const instead =
    options.replace === true ? replaced(found, present) : new Map<WantedGrant, Fields>()
  return wanted.map((one) => {
    const there = found.get(one)
    const base = { kind: one.kind, name: one.name, wanted: one } as const
    if (there !== undefined) {
      return updated(base, String(there['id']), grantChanges(there, one.fields, options))
    }
    const clientId = present.clients.get(one.api)?.id
    const { audience, subjectType } = one
    const own = defined({ client_id: clientId, audience, subject_type: subjectType })
    const step = created(base, { ...own, ...one.fields })
    const old = instead.get(one)
    return old === undefined ? step : replacing(step, old)
  })
}

function presentGrant(
  { api, audience, subjectType }: WantedGrant,
  { clients, grants }: Present,
): Fields | undefined {
  const clientId = clients.get(api)?.id
  return grants.find(
    (grant) =>
      grant['client_id'] === clientId &&
      grant['audience'] === audience &&
      (subjectType === undefined || typeOf(grant) === subjectType),
  )
}

function typeOf(grant: Fields): unknown {
  return grant['subject_type'] ?? 'client'
}

/**
 * Which unused grant each missing one replaces: one of the same client for the same audience; else, if there is exactly one
 * missing and one unused, one for the same kind of subject. Anything else would be a guess.
 */
function replaced(
  found: ReadonlyMap<WantedGrant, Fields | undefined>,
  { clients, grants }: Present,
): ReadonlyMap<WantedGrant, Fields> {
  const known = new Set(found.values())
  const left = new Set(grants.filter((grant) => !known.has(grant) && grant['is_system'] !== true))
  const missing = [...found].flatMap(([wanted, there]) => (there === undefined ? [wanted] : []))
  const pairs = new Map<WantedGrant, Fields>()
  const pair = (wanted: WantedGrant, grant: Fields): void => {
    pairs.set(wanted, grant)
    left.delete(grant)
  }
  const ofClient = ({ api }: WantedGrant) =>
    [...left].filter((grant) => grant['client_id'] === clients.get(api)?.id)
  for (const wanted of missing) {
    const grant = ofClient(wanted).find(({ audience }) => audience === wanted.audience)
    if (grant !== undefined) pair(wanted, grant)
  }
  for (const wanted of missing) {
    const isAlike = (other: WantedGrant): boolean =>
      other.api === wanted.api && other.subjectType === wanted.subjectType && !pairs.has(other)
    const candidates = ofClient(wanted).filter(
      (grant) => wanted.subjectType === undefined || typeOf(grant) === wanted.subjectType,
    )
    const [grant, ...more] = candidates
    const isOnly = more.length === 0 && missing.filter(isAlike).length === 1
    if (grant !== undefined && isOnly && !pairs.has(wanted)) pair(wanted, grant)
  }
  return pairs
}

const IMMUTABLE = ['client_id', 'audience', 'subject_type'] as const

function replacing(step: Step, old: Fields): Step {
  const fields = Object.entries(step.fields).map(([name, { to }]) => [
    name,
    { from: old[name], to },
  ])
  const changed = Object.fromEntries(fields) as Step['fields']
  return { ...step, action: 'replace', fields: changed, deletes: [goneGrant(old, step)] }
}

function goneGrant(old: Fields, { fields }: Step): Gone {
  const name = IMMUTABLE.find((one) => fields[one] !== undefined && old[one] !== fields[one].to)
  const because = `its ${String(name)} cannot be changed, and nothing asks for it`
  return { kind: 'client-grant', id: String(old['id']), because }
}

/** A grant of all scopes gets no list of scopes, because Auth0 refuses both at once. */
export function grantChanges(there: Fields, fields: Fields, options: PlanOptions): Step['fields'] {
  const { scope, ...others } = fields
  const all = others['allow_all_scopes'] ?? there['allow_all_scopes']
  const named = all === true ? others : defined({ ...others, scope })
  const isFreed = all === true && there['allow_all_scopes'] !== true && there['scope'] !== undefined
  return {
    ...changesOf('client-grant', there, named, options),
    ...(isFreed && { scope: { from: there['scope'], to: null } }),
  }
}
