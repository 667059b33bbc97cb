import { changesOf, encryptionChange, secretChange } from './changes.ts'
import type { WantedServer } from './desired-servers.ts'
import type { Desired } from './desired.ts'
import { isObject, merged, type Fields } from './merge.ts'
import { clientStep } from './plan-clients.ts'
import { grantSteps } from './plan-grants.ts'
import type { Present } from './present.ts'
import { created, updated, type PlanOptions, type Step } from './step.ts'

/** What a tenant lacks. Pure: only `apply` changes the tenant. Resource servers come first, then clients, then grants. */
export function plan(wanted: Desired, present: Present, options: PlanOptions): readonly Step[] {
  return [
    ...wanted.servers.map((one) => serverStep(one, present, options)),
    ...wanted.clients.flatMap((one) => clientStep(one, present) ?? []),
    ...grantSteps(wanted.grants, present, options),
  ]
}

export function isSettled(steps: readonly Step[]): boolean {
  return steps.every(({ action }) => action === 'unchanged')
}

export function serverStep(wanted: WantedServer, { servers }: Present, options: PlanOptions): Step {
  const { identifier, fields, initial } = wanted
  const there = servers.get(identifier)
  const base = { kind: wanted.kind, name: identifier, wanted } as const
  if (there === undefined) {
    return created(base, { identifier, ...(merged(initial, fields) as Fields) })
  }
  const { signing_secret: secret, token_encryption: encryption, ...plain } = fields
  const cleared = encryption === null ? { token_encryption: null } : {}
  const isHidden = there['signing_secret'] === undefined && there['signing_alg'] === 'HS256'
  const changes = {
    ...changesOf(wanted.kind, there, { ...plain, ...cleared }, options),
    ...secretChange('signing_secret', there, secret, isHidden),
    ...(isObject(encryption) && encryptionChange(there, encryption, wanted.thumbprint)),
  }
  return updated(base, String(there['id']), changes)
}
