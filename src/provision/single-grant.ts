import { settableFields } from '../config/management-fields.ts'
import { ProvisionError } from './failure.ts'
import type { Management } from './management.ts'
import { defined, type Fields } from './merge.ts'
import { grantChanges } from './plan-grants.ts'
import type { Generation } from './plot.ts'
import { updated, type PlanOptions, type Step } from './step.ts'

interface Asked {
  readonly generation: Generation
  readonly id: string
  readonly fields: Fields
}

const IMMUTABLE = ['client_id', 'audience', 'subject_type'] as const

/** The step for one client grant. */
export async function planGrant(
  management: Management,
  asked: Asked,
  options: PlanOptions,
): Promise<Step> {
  const { id, fields } = asked
  const there = await management.grant(id)
  const { client_id: clientId, audience, subject_type: _, ...settable } = fields
  const wanted = {
    ...({ kind: 'client-grant', name: id, api: '', subjectType: undefined, fields } as const),
    audience: String(audience),
  }
  const base = { kind: 'client-grant', name: id, wanted } as const
  if (there === undefined) {
    if (clientId === undefined || audience === undefined) {
      impossible(`there is no client grant ${id}; one that is made needs client_id and audience`)
    }
    return { ...base, action: 'create', id: undefined, fields: changed({}, fields), deletes: [] }
  }
  const fixed = IMMUTABLE.find((name) => name in fields && fields[name] !== valueOf(there, name))
  if (fixed === undefined) return updated(base, id, grantChanges(there, settable, options))
  if (options.replace !== true) {
    impossible(
      `${fixed} of a client grant cannot be changed; --replace makes another, and deletes this one`,
    )
  }
  const because = `its ${fixed} cannot be changed`
  const other = await another(management, asked, there, options)
  return {
    ...base,
    ...other,
    action: 'replace',
    deletes: [{ kind: 'client-grant', id, because }],
  }
}

function valueOf(grant: Fields, name: (typeof IMMUTABLE)[number]): unknown {
  return grant[name] ?? (name === 'subject_type' ? 'client' : undefined)
}

/** The grant that replaces it: equal but for the fields that differ. It may exist already. */
async function another(
  management: Management,
  { generation, fields }: Asked,
  there: Fields,
  options: PlanOptions,
): Promise<Pick<Step, 'id' | 'fields'>> {
  const names = settableFields(generation, 'client-grant')
  const own = Object.entries(there).filter(
    ([name, value]) => names.includes(name) && value !== null,
  )
  const all: Fields = { ...Object.fromEntries(own), ...fields }
  const grants = await management.grants({ client_id: String(all['client_id']) })
  const found = grants.find((grant) =>
    IMMUTABLE.every((name) => valueOf(grant, name) === valueOf(all, name)),
  )
  const body = all['allow_all_scopes'] === true ? defined({ ...all, scope: undefined }) : all
  if (found === undefined) return { id: undefined, fields: changed(there, body) }
  const { client_id: _, audience: __, subject_type: ___, ...settable } = all
  return { id: String(found['id']), fields: grantChanges(found, settable, options) }
}

function changed(there: Fields, body: Fields): Step['fields'] {
  return Object.fromEntries(
    Object.entries(body).map(([name, to]) => [name, { from: there[name], to }]),
  )
}

function impossible(message: string): never {
  throw new ProvisionError('impossible', message)
}
