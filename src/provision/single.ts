import { setTimeout as wait } from 'node:timers/promises'
import { fieldFaults } from '../config/management-fields.ts'
import { ProvisionError } from './failure.ts'
import type { Management } from './management.ts'
import type { Fields } from './merge.ts'
import type { Generation } from './plot.ts'
import { planGrant } from './single-grant.ts'
import { planServer } from './single-server.ts'
import { bodyOf, type PlanOptions, type Step } from './step.ts'

/** One object, by hand. */
export interface Single {
  readonly generation: Generation
  readonly kind: 'resource-server' | 'client-grant'
  /** A resource server's identifier, or a grant's id. If the tenant lacks it, the object is created. */
  readonly id: string
  /** Under Auth0's names. */
  readonly fields: Fields
}

/**
 * The step for the object. Lists are added to, as they are for routes.
 *
 * @throws {ProvisionError} `impossible` for fields that Auth0 would refuse, before the tenant is asked
 */
export async function planSingle(
  management: Management,
  single: Single,
  options: PlanOptions,
): Promise<Step> {
  assertFields(single)
  return single.kind === 'resource-server'
    ? planServer(management, single, options)
    : planGrant(management, single, options)
}

/** Sends the call, and waits until the change is visible. @throws {ProvisionError} `unsettled` if it does not become so */
export async function applySingle(
  management: Management,
  single: Single,
  options: PlanOptions & { readonly lagMs?: number },
): Promise<void> {
  const step = await planSingle(management, single, options)
  if (step.action === 'unchanged') return
  const answer = await send(management, single.kind, step)
  const made = { ...single, ...nameOf(single, answer) }
  const { lagMs = LAG_MS } = options
  for (let read = 0; read < READS; read++) {
    const left = await planSingle(management, withoutHidden(made), options)
    if (left.action === 'unchanged') return
    await wait(lagMs * 2 ** read)
  }
  throw new ProvisionError('unsettled', `${single.kind} ${single.id} does not become as asked for`)
}

const READS = 5
const LAG_MS = 200

/** The name by which the object is found after the change. */
function nameOf({ kind, fields }: Single, answer: Fields): Partial<Single> {
  if (kind === 'client-grant') return { id: String(answer['id']) }
  const { identifier, ...others } = fields as Fields & { readonly identifier?: string }
  return identifier === undefined ? {} : { id: identifier, fields: others }
}

function assertFields({ generation, kind, fields }: Single): void {
  const faults = fieldFaults(generation, kind, fields)
  if (faults.length === 0) return
  const isOld = generation === 'current' && ('token_exchange' in fields || 'client' in fields)
  const advice =
    kind === 'resource-server' && isOld
      ? '; the exchange of 2019 is gone: a client of the API has `token_exchange` now, which `behalf provision` makes'
      : ''
  throw new ProvisionError('impossible', `${faults.join('; ')}${advice}`)
}

/** Creates a replacement before it deletes the old object: until then the replacement can be created from it again. */
async function send(management: Management, kind: Single['kind'], step: Step): Promise<Fields> {
  const answer = await written(management, kind, step)
  const [gone] = step.deletes
  if (gone !== undefined && kind === 'resource-server') await management.deleteServer(gone.id)
  else if (gone !== undefined) await management.deleteGrant(gone.id)
  return answer
}

function written(management: Management, kind: Single['kind'], step: Step): Promise<Fields> {
  const { id } = step
  const body = bodyOf(step)
  // An interrupted run created it, and it needs no change.
  if (id !== undefined && Object.keys(body).length === 0) return Promise.resolve({ id })
  if (kind === 'resource-server') {
    return id === undefined ? management.createServer(body) : management.updateServer(id, body)
  }
  return id === undefined ? management.createGrant(body) : management.updateGrant(id, body)
}

/** A tenant may not show a secret, and then its presence cannot be checked. */
function withoutHidden(single: Single): Single {
  const { signing_secret: _, ...fields } = single.fields
  return { ...single, fields }
}
