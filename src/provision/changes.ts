import { isDeepStrictEqual } from 'node:util'
import { isObject, merged, nameOf, type Fields } from './merge.ts'
import type { Change, PlanOptions, Step, Wanted } from './step.ts'

/** Values that fields have when a tenant leaves them out of its answers. */
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

/** Each field that differs. The new value keeps what the field has beside what is wanted. */
export function changesOf(
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
    // Tenants may leave fields out of an answer that are null.
    if (!isDeepStrictEqual(from ?? null, to ?? null)) changes[name] = { from: there[name], to }
  }
  return changes
}

function pruned(all: unknown, wanted: unknown): unknown {
  const names = new Set((wanted as readonly unknown[]).map(nameOf))
  return (all as readonly unknown[]).filter((one) => names.has(nameOf(one)))
}

/** @param isHidden whether the tenant does not show the secret: then it is assumed to be right */
export function secretChange(
  name: string,
  there: Fields,
  wanted: unknown,
  isHidden: boolean,
): Step['fields'] {
  const from = there[name]
  if (wanted === undefined || wanted === from || isHidden) return {}
  return { [name]: { from, to: wanted } }
}

/** Tenants show the thumbprint of a key in place of its PEM. */
export function encryptionChange(
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
