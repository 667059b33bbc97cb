import { changesOf, secretChange } from './changes.ts'
import type { WantedClient } from './desired-clients.ts'
import { isObject, type Fields } from './merge.ts'
import type { Present, PresentClient } from './present.ts'
import type { Proof } from './proof.ts'
import { created, updated, type Gone, type Step } from './step.ts'

/** The step for a client; undefined if it does not exist and is not created here. */
export function clientStep(wanted: WantedClient, { clients }: Present): Step | undefined {
  const { kind, name, proof, fields, initial } = wanted
  const there = clients.get(name)
  const base = { kind, name, wanted } as const
  if (there === undefined && initial === undefined) return undefined
  if (there === undefined) {
    const { client_authentication_methods: _, ...plain } = fields
    const proved = proof && {
      client_authentication_methods: { [proof.method]: { credentials: [proof.credential] } },
    }
    return created(base, { ...initial, ...plain, ...proved })
  }
  const proved = proof && proofChange(there, proof)
  const isHidden = there.fields['client_secret'] === undefined
  const changes = {
    ...changesOf(kind, there.fields, fields, { pruneScopes: false }),
    ...secretChange('client_secret', there.fields, wanted.secret, isHidden),
    ...proved?.fields,
  }
  return updated(base, there.id, changes, proved?.deletes)
}

/** How many credentials Auth0 lets a client use for one method. */
const MOST_USED = 2

interface ProofChange {
  readonly fields: Step['fields']
  readonly deletes: readonly Gone[]
}

/** No change if a fitting credential is in use. Else the change that uses it; `apply` creates a missing one first. */
function proofChange({ fields, credentials }: PresentClient, proof: Proof): ProofChange {
  const from = fields['client_authentication_methods']
  const method = isObject(from) ? from[proof.method] : undefined
  const used = isObject(method) ? (method['credentials'] as readonly Fields[]) : []
  const there = credentials.find((one) => isPart(proof.known, one))
  const isRight = there !== undefined && isPart(proof.fixed, there)
  if (isRight && used.some(({ id }) => id === there['id'])) return { fields: {}, deletes: [] }
  const wrong = there === undefined || isRight ? [] : [goneFor(there, proof.fixed)]
  const kept = used.filter(({ id }) => wrong.every((one) => one.id !== id))
  const oldest = kept.length < MOST_USED ? [] : [oldestOf(kept, credentials)]
  const deletes = [...wrong, ...oldest]
  const others = kept.filter(({ id }) => deletes.every((one) => one.id !== id))
  const entry = isRight ? { id: there['id'] } : proof.credential
  const to = { [proof.method]: { credentials: [...others.map(({ id }) => ({ id })), entry] } }
  return { fields: { client_authentication_methods: { from, to } }, deletes }
}

function isPart(some: Fields, whole: Fields): boolean {
  return Object.entries(some).every(([name, value]) => whole[name] === value)
}

function goneFor(there: Fields, fixed: Fields): Gone {
  const [name = ''] = Object.keys(fixed).filter((one) => there[one] !== fixed[one])
  const because = `its ${name} is ${String(there[name])}, and cannot become ${String(fixed[name])}`
  return { kind: 'credential', id: String(there['id']), because }
}

function oldestOf(used: readonly Fields[], credentials: readonly Fields[]): Gone {
  const madeAt = (id: unknown): string => {
    const at = credentials.find((one) => one['id'] === id)?.['created_at']
    return typeof at === 'string' ? at : ''
  }
  const [oldest] = used.toSorted((one, other) => (madeAt(one['id']) < madeAt(other['id']) ? -1 : 1))
  const because = `a client uses at most ${MOST_USED}, and this is the oldest`
  return { kind: 'credential', id: String(oldest?.['id']), because }
}
