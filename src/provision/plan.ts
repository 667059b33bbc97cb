import { isDeepStrictEqual } from 'node:util'
import type { PublicKey, WantedClient } from './desired-clients.ts'
import type { WantedGrant } from './desired-grants.ts'
import type { WantedServer } from './desired-servers.ts'
import type { Desired } from './desired.ts'
import { defined, isObject, merged, nameOf, type Fields } from './merge.ts'
import type { Present, PresentClient } from './present.ts'

export type Wanted = WantedServer | WantedClient | WantedGrant

/** What one field is, and what it is to become. */
export interface Change {
  /** Undefined: it is not set. */
  readonly from: unknown
  readonly to: unknown
}

/** One object of the tenant, and what becomes of it. */
export interface Step {
  readonly action: 'create' | 'update' | 'unchanged'
  readonly kind: Wanted['kind']
  /** An identifier, an API's name, or a pair of them. */
  readonly name: string
  /** By Auth0's names; only those that differ. */
  readonly fields: Readonly<Record<string, Change>>
  readonly wanted: Wanted
  /** What the tenant calls the object, once it is there. */
  readonly id: string | undefined
}

export interface PlanOptions {
  /** Take away scopes that nothing asks for. Default: they stay. */
  readonly pruneScopes: boolean
}

/** What a tenant leaves out of its answers, or is taken to mean by it. */
const UNSAID: Readonly<Record<Wanted['kind'], Fields>> = {
  'resource-server': {
    scopes: [],
    signing_alg: 'RS256',
    token_lifetime: 86_400,
    token_dialect: 'access_token',
    enforce_policies: false,
    allow_offline_access: false,
    skip_consent_for_verifiable_first_party_clients: false,
    authorization_details: [],
    subject_type_authorization: {
      user: { policy: 'allow_all' },
      client: { policy: 'require_client_grant' },
    },
  },
  client: {
    grant_types: [],
    client_authentication_methods: null,
    token_endpoint_auth_method: 'none',
    refresh_token: { rotation_type: 'non-rotating', expiration_type: 'non-expiring' },
  },
  'client-grant': {
    scope: [],
    organization_usage: 'deny',
    allow_any_organization: false,
    allow_all_scopes: false,
    authorization_details_types: [],
  },
}

/** What a tenant lacks. Pure: `apply` alone changes it. Resource servers come first, then clients, then grants. */
export function plan(wanted: Desired, present: Present, options: PlanOptions): readonly Step[] {
  return [
    ...wanted.servers.map((one) => serverStep(one, present, options)),
    ...wanted.clients.flatMap((one) => clientStep(one, present) ?? []),
    ...wanted.grants.map((one) => grantStep(one, present, options)),
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
  const changes = {
    ...changesOf(wanted.kind, there, { ...plain, ...cleared }, options),
    ...secretChange('signing_secret', there, secret),
    ...(isObject(encryption) && encryptionChange(there, encryption, wanted.thumbprint)),
  }
  return updated(base, String(there['id']), changes)
}

function clientStep(wanted: WantedClient, { clients }: Present): Step | undefined {
  const { kind, name, key, fields, initial } = wanted
  const there = clients.get(name)
  const base = { kind, name, wanted } as const
  if (there === undefined && initial === undefined) return undefined
  if (there === undefined) {
    const { client_authentication_methods: _, ...plain } = fields
    const keyed = key && {
      client_authentication_methods: { private_key_jwt: { credentials: [newCredential(key)] } },
    }
    return created(base, { ...initial, ...plain, ...keyed })
  }
  const changes = {
    ...changesOf(kind, there.fields, fields, { pruneScopes: false }),
    ...secretChange('client_secret', there.fields, wanted.secret),
    ...(key && keyChange(there, key)),
  }
  return updated(base, there.id, changes)
}

function grantStep(wanted: WantedGrant, present: Present, options: PlanOptions): Step {
  const { kind, name, api, audience, subjectType, fields } = wanted
  const clientId = present.clients.get(api)?.id
  const there = present.grants.find(
    (grant) =>
      grant['client_id'] === clientId &&
      grant['audience'] === audience &&
      (subjectType === undefined || (grant['subject_type'] ?? 'client') === subjectType),
  )
  const base = { kind, name, wanted } as const
  if (there === undefined) {
    const own = defined({ client_id: clientId, audience, subject_type: subjectType })
    return created(base, { ...own, ...fields })
  }
  return updated(base, String(there['id']), grantChanges(there, fields, options))
}

/** A grant of all scopes needs none by name, and takes none: both at once are refused. */
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

type Base = Pick<Step, 'kind' | 'name' | 'wanted'>

function created(base: Base, body: Fields): Step {
  const changes = Object.entries(body).map(([name, value]) => [
    name,
    { from: undefined, to: merged(undefined, value) },
  ])
  const fields = Object.fromEntries(changes) as Step['fields']
  return { ...base, action: 'create', id: undefined, fields }
}

function updated(base: Base, id: string, fields: Step['fields']): Step {
  const isSame = Object.keys(fields).length === 0
  return { ...base, action: isSame ? 'unchanged' : 'update', id, fields }
}

function changesOf(
  kind: Wanted['kind'],
  there: Fields,
  wanted: Fields,
  { pruneScopes }: PlanOptions,
): Step['fields'] {
  const changes: Record<string, Change> = {}
  for (const [name, value] of Object.entries(wanted)) {
    const from = there[name] ?? UNSAID[kind][name]
    const all = merged(from, value)
    const isScopes = name === 'scopes' || name === 'scope'
    const to = pruneScopes && isScopes ? pruned(all, value) : all
    // What is null may be left out of an answer.
    if (!isDeepStrictEqual(from ?? null, to ?? null)) changes[name] = { from: there[name], to }
  }
  return changes
}

function pruned(all: unknown, wanted: unknown): unknown {
  const names = new Set((wanted as readonly unknown[]).map(nameOf))
  return (all as readonly unknown[]).filter((one) => names.has(nameOf(one)))
}

/** A secret that the tenant does not show is taken to be right. */
function secretChange(name: string, there: Fields, wanted: unknown): Step['fields'] {
  const from = there[name]
  const isHidden = from === undefined && there['signing_alg'] !== 'RS256'
  if (wanted === undefined || wanted === from || isHidden) return {}
  return { [name]: { from, to: wanted } }
}

/** Tenants show the thumbprint of a key in place of its PEM. */
function encryptionChange(
  there: Fields,
  wanted: unknown,
  thumbprint: string | undefined,
): Step['fields'] {
  const from = there['token_encryption']
  const own = isObject(from) && isObject(from['encryption_key']) ? from['encryption_key'] : {}
  const { thumbprint_sha256: shown, ...key } = own
  const { encryption_key: wantedKey, ...rest } = wanted as Fields
  const { pem, ...wantedRest } = wantedKey as Fields
  const to = { ...rest, encryption_key: { ...(merged(key, wantedRest) as Fields), pem } }
  const isSame =
    shown === thumbprint &&
    isDeepStrictEqual(from, { ...to, encryption_key: { ...without(to), thumbprint_sha256: shown } })
  return isSame ? {} : { token_encryption: { from, to } }
}

function without({ encryption_key: key }: { readonly encryption_key: Fields }): Fields {
  const { pem: _, ...rest } = key
  return rest
}

export function newCredential({ pem, kid, alg }: PublicKey): Fields {
  return { credential_type: 'public_key', name: 'Behalf', pem, kid, alg }
}

/** A key that is there and in use; or what it takes to use it, which `apply` makes first where it is not there. */
function keyChange({ fields, credentials }: PresentClient, key: PublicKey): Step['fields'] {
  const methods = fields['client_authentication_methods']
  const jwt = isObject(methods) ? methods['private_key_jwt'] : undefined
  const used = isObject(jwt) ? (jwt['credentials'] as readonly Fields[]) : []
  const known = credentials.find(({ kid }) => kid === key.kid)
  if (known !== undefined && used.some(({ id }) => id === known['id'])) return {}
  const entry = known === undefined ? newCredential(key) : { id: known['id'] }
  const to = { private_key_jwt: { credentials: [...used.map(({ id }) => ({ id })), entry] } }
  return { client_authentication_methods: { from: methods, to } }
}
