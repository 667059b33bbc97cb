import { settableFields } from '../config/management-fields.ts'
import { ProvisionError } from './failure.ts'
import type { Management } from './management.ts'
import { isObject, type Fields } from './merge.ts'
import { serverStep } from './plan.ts'
import type { Generation } from './plot.ts'
import type { Gone, PlanOptions, Step } from './step.ts'
import { thumbprintOf } from './thumbprint.ts'

interface Asked {
  readonly generation: Generation
  readonly id: string
  readonly fields: Fields
}

/** The step for one resource server. */
export async function planServer(
  management: Management,
  { generation, id, fields }: Asked,
  options: PlanOptions,
): Promise<Step> {
  const { identifier, ...others } = fields as Fields & { readonly identifier?: string }
  if (identifier === undefined || identifier === id) {
    return stepOf(id, others, await management.server(id), options)
  }
  if (options.replace !== true) {
    impossible(
      'identifier of a resource server cannot be changed; --replace makes another, and deletes this one with its ' +
        'client and all grants for it',
    )
  }
  const old = await management.server(id)
  const there = await management.server(identifier)
  if (old === undefined && there === undefined) impossible(`there is no resource server ${id}`)
  const wanted = old === undefined ? others : { ...ownOf(generation, old, others), ...others }
  const step = await stepOf(identifier, wanted, there, options)
  if (old === undefined) return step
  const deletes = await goneWith(management, old)
  return { ...step, action: 'replace', deletes }
}

async function stepOf(
  identifier: string,
  fields: Fields,
  there: Fields | undefined,
  options: PlanOptions,
): Promise<Step> {
  const encryption = fields['token_encryption']
  const key = isObject(encryption) ? (encryption['encryption_key'] as Fields) : undefined
  const thumbprint = key && (await thumbprintOf(String(key['pem'])).catch(refusePem))
  const wanted = { kind: 'resource-server', identifier, fields, thumbprint, initial: {} } as const
  const servers = new Map(there === undefined ? [] : [[identifier, there] as const])
  return serverStep(wanted, { servers, clients: new Map(), grants: [] }, options)
}

/** The fields of the old one that a new one can be created with. */
function ownOf(generation: Generation, old: Fields, others: Fields): Fields {
  const names = settableFields(generation, 'resource-server')
  const {
    identifier: _,
    token_encryption: encryption,
    ...own
  } = Object.fromEntries(
    Object.entries(old).filter(([name, value]) => names.includes(name) && value !== null),
  )
  if (isObject(encryption) && others['token_encryption'] === undefined) {
    impossible('token_encryption: no tenant tells its pem: set it, or set it to null')
  }
  return own
}

async function goneWith(management: Management, old: Fields): Promise<readonly Gone[]> {
  const { id, identifier, client_id: client } = old
  const because = `it is for ${String(identifier)}`
  const grants = await management.grants({ audience: String(identifier) })
  return [
    {
      kind: 'resource-server',
      id: String(id),
      because: 'its identifier cannot be changed',
    },
    ...(typeof client === 'string' ? [{ kind: 'client', id: client, because } as const] : []),
    ...grants.map((one) => ({ kind: 'client-grant', id: String(one['id']), because }) as const),
  ]
}

function refusePem(): never {
  impossible('token_encryption: pem is no public key or certificate')
}

function impossible(message: string): never {
  throw new ProvisionError('impossible', message)
}
