import { setTimeout as wait } from 'node:timers/promises'
import { fieldFaults } from '../config/management-fields.ts'
import { ProvisionError } from './failure.ts'
import type { Management } from './management.ts'
import { isObject, type Fields } from './merge.ts'
import { grantChanges, serverStep, type PlanOptions, type Step } from './plan.ts'
import type { Generation } from './plot.ts'
import { thumbprintOf } from './thumbprint.ts'

/** One object, by hand. */
export interface Single {
  readonly generation: Generation
  readonly kind: 'resource-server' | 'client-grant'
  /** A resource server's identifier, or a grant's id. One that the tenant lacks is made. */
  readonly id: string
  /** Under Auth0's names. */
  readonly fields: Fields
}

const IMMUTABLE = ['client_id', 'audience', 'subject_type']

/**
 * What becomes of it. Lists are added to, as they are for routes.
 *
 * @throws {ProvisionError} `impossible` for fields that Auth0 would refuse, before anybody is asked
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

/** Sends the one call, and waits for it to be seen. @throws {ProvisionError} `unsettled` when it is not */
export async function applySingle(
  management: Management,
  single: Single,
  options: PlanOptions & { readonly lagMs?: number },
): Promise<void> {
  const step = await planSingle(management, single, options)
  if (step.action === 'unchanged') return
  const body = Object.fromEntries(Object.entries(step.fields).map(([name, { to }]) => [name, to]))
  const answer = await send(management, single.kind, step.id, body)
  const made = single.kind === 'client-grant' ? { ...single, id: String(answer['id']) } : single
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

async function planServer(
  management: Management,
  { id, fields }: Single,
  options: PlanOptions,
): Promise<Step> {
  const there = await management.server(id)
  const encryption = fields['token_encryption']
  const key = isObject(encryption) ? (encryption['encryption_key'] as Fields) : undefined
  const thumbprint = key && (await thumbprintOf(String(key['pem'])).catch(refusePem))
  const wanted = {
    ...({ kind: 'resource-server', identifier: id, fields, thumbprint } as const),
    initial: {},
  }
  const servers = new Map(there === undefined ? [] : [[id, there] as const])
  return serverStep(wanted, { servers, clients: new Map(), grants: [] }, options)
}

function refusePem(): never {
  throw new ProvisionError('impossible', 'token_encryption: pem is no public key or certificate')
}

async function planGrant(
  management: Management,
  { id, fields }: Single,
  options: PlanOptions,
): Promise<Step> {
  const there = await management.grant(id)
  const { client_id: clientId, audience, ...changing } = fields
  const wanted = {
    ...({ kind: 'client-grant', name: id, api: '', subjectType: undefined, fields } as const),
    audience: String(audience),
  }
  const base = { kind: 'client-grant', name: id, wanted } as const
  if (there === undefined) {
    if (clientId === undefined || audience === undefined) {
      const message = `there is no client grant ${id}; one that is made needs client_id and audience`
      throw new ProvisionError('impossible', message)
    }
    const changes = Object.entries(fields).map(([name, to]) => [name, { from: undefined, to }])
    return { ...base, action: 'create', id: undefined, fields: Object.fromEntries(changes) }
  }
  const fixed = IMMUTABLE.find((name) => name in fields && fields[name] !== there[name])
  if (fixed !== undefined) {
    throw new ProvisionError('impossible', `${fixed} of a client grant cannot be changed`)
  }
  const { subject_type: _, ...settable } = changing
  const changes = grantChanges(there, settable, options)
  const isSame = Object.keys(changes).length === 0
  return { ...base, action: isSame ? 'unchanged' : 'update', id, fields: changes }
}

function send(
  management: Management,
  kind: Single['kind'],
  id: string | undefined,
  body: Fields,
): Promise<Fields> {
  if (kind === 'resource-server') {
    return id === undefined ? management.createServer(body) : management.updateServer(id, body)
  }
  return id === undefined ? management.createGrant(body) : management.updateGrant(id, body)
}

/** A secret may not be shown, and then nobody can see whether it is there. */
function withoutHidden(single: Single): Single {
  const { signing_secret: _, ...fields } = single.fields
  return { ...single, fields }
}
