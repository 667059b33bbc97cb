import { setTimeout as wait } from 'node:timers/promises'
import type { WantedClient } from './desired-clients.ts'
import type { WantedGrant } from './desired-grants.ts'
import type { Desired } from './desired.ts'
import { ConflictError, ProvisionError } from './failure.ts'
import type { Management } from './management.ts'
import { isObject, type Fields } from './merge.ts'
import { isSettled, plan } from './plan.ts'
import { readPresent, type Present } from './present.ts'
import { authenticatedBy } from './proof.ts'
import { bodyOf, type PlanOptions, type Step } from './step.ts'

export interface ApplyOptions extends PlanOptions {
  /** Called before each step that changes something. */
  readonly onStep?: (step: Step) => void
  /** Called with the tenant's answer, before the next step, because a tenant may show a secret only once. */
  readonly onAnswer?: (step: Step, answer: Fields) => Promise<void>
  /** The first wait for a change to become visible, in milliseconds; doubles each time. Default 200. */
  readonly lagMs?: number
}

/** How often the tenant is read for a change to become visible. */
const READS = 5
/** How often the whole plan is applied, because others may change the tenant at the same time. */
const ROUNDS = 4
const LAG_MS = 200

/**
 * Makes the tenant what is wanted: reads, changes what differs, and reads again until nothing does. It never creates an
 * object that exists, so it may be interrupted at any time and called again.
 *
 * @returns what the tenant holds then
 * @throws {ProvisionError} `unsettled` if differences remain
 */
export async function apply(
  management: Management,
  wanted: Desired,
  options: ApplyOptions,
): Promise<Present> {
  let present = await readPresent(management, wanted)
  for (let round = 0; round < ROUNDS; round++) {
    const steps = plan(wanted, present, options)
    if (isSettled(steps)) return present
    assertDeletable(steps, options)
    await applySteps(management, steps, { wanted, present }, options)
    present = await readUntilSettled(management, wanted, options)
  }
  const left = plan(wanted, present, options).filter(({ action }) => action !== 'unchanged')
  if (left.length === 0) return present
  const names = left.map(
    ({ kind, name, fields }) => `${kind} ${name} (${Object.keys(fields).join(', ')})`,
  )
  throw new ProvisionError('unsettled', `still not as asked for: ${names.join('; ')}`)
}

/**
 * Refuses steps that delete something, unless `replace` is set.
 *
 * @throws {ProvisionError} `impossible`, which names what would be deleted
 */
export function assertDeletable(steps: readonly Step[], { replace }: PlanOptions): void {
  if (replace === true) return
  const gone = steps.flatMap(({ kind, name, deletes }) =>
    deletes.map(
      ({ kind: what, id, because }) => `${what} ${id} of the ${kind} ${name}, since ${because}`,
    ),
  )
  if (gone.length === 0) return
  throw new ProvisionError('impossible', `only --replace deletes ${gone.join('; and ')}`)
}

/** Reads the tenant again and again, because a change may not be visible at once. */
async function readUntilSettled(
  management: Management,
  wanted: Desired,
  options: ApplyOptions,
): Promise<Present> {
  let lag = options.lagMs ?? LAG_MS
  let present = await readPresent(management, wanted)
  for (let read = 1; read < READS; read++) {
    if (isSettled(plan(wanted, present, options))) break
    await wait(lag)
    lag *= 2
    present = await readPresent(management, wanted)
  }
  return present
}

async function applySteps(
  management: Management,
  steps: readonly Step[],
  { wanted, present }: { readonly wanted: Desired; readonly present: Present },
  { onStep, onAnswer }: ApplyOptions,
): Promise<void> {
  const ids = new Map([...present.clients].map(([name, { id }]) => [name, id]))
  for (const step of steps) {
    if (step.action === 'unchanged') continue
    onStep?.(step)
    try {
      const answer = await send(management, step, ids)
      for (const { name, identifier } of wanted.clients) {
        const isIt = step.kind === 'client' ? step.name === name : step.name === identifier
        if (isIt && typeof answer['client_id'] === 'string') ids.set(name, answer['client_id'])
      }
      await onAnswer?.(step, answer)
    } catch (error) {
      // The next round reads the object as it is now; later steps may depend on it.
      if (error instanceof ConflictError) return
      throw error instanceof ProvisionError ? named(step, error) : error
    }
  }
}

function named({ kind, name, wanted }: Step, { code, message }: ProvisionError): ProvisionError {
  const isLegacy =
    kind === 'resource-server' && 'token_exchange' in (wanted as { fields: Fields }).fields
  const advice =
    isLegacy && /Additional properties not allowed/.test(message)
      ? ': the tenant has no exchange of 2019; use `profile: auth0`, where a client of its own exchanges'
      : ''
  return new ProvisionError(code, `${kind} ${name}: ${message}${advice}`)
}

async function send(
  management: Management,
  step: Step,
  ids: ReadonlyMap<string, string>,
): Promise<Fields> {
  const body = bodyOf(step)
  const { id, wanted } = step
  if (wanted.kind === 'resource-server') {
    return id === undefined ? management.createServer(body) : management.updateServer(id, body)
  }
  if (wanted.kind === 'client') return sendClient(management, step, wanted, body)
  if (id !== undefined) return management.updateGrant(id, body)
  // Deleted first: a run that is interrupted here finds the grant missing next time, and the replaced one gone.
  for (const gone of step.deletes) await management.deleteGrant(gone.id)
  return management.createGrant({ ...body, client_id: clientIdOf(wanted, ids) })
}

function clientIdOf({ api, name }: WantedGrant, ids: ReadonlyMap<string, string>): string {
  const id = ids.get(api)
  if (id !== undefined) return id
  // In 2019's generation the API makes its client itself: the next round finds it.
  throw new ConflictError(`client-grant ${name}: ${api} has no client yet`)
}

/** Auth0 lets a client that exists use credentials only by their ids, so they are created first. */
async function sendClient(
  management: Management,
  { id, deletes }: Step,
  { proof }: WantedClient,
  body: Fields,
): Promise<Fields> {
  if (id === undefined) return management.createClient(body)
  const methods = body['client_authentication_methods']
  if (proof === undefined || !isObject(methods)) return management.updateClient(id, body)
  const { credentials } = methods[proof.method] as { readonly credentials: readonly Fields[] }
  if (deletes.length > 0) {
    const kept = credentials.filter((one) => one['id'] !== undefined)
    await management.updateClient(id, authenticatedBy(proof.method, kept))
    for (const gone of deletes) await management.deleteCredential(id, gone.id)
  }
  const made: Fields[] = []
  for (const one of credentials) {
    const isNew = one['id'] === undefined
    made.push({ id: (isNew ? await management.createCredential(id, one) : one)['id'] })
  }
  return management.updateClient(id, { ...body, ...authenticatedBy(proof.method, made) })
}
