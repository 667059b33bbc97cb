import type { Generation } from './kind.ts'
import {
  anything,
  flag,
  list,
  nullable,
  object,
  oneOf,
  text,
  whole,
  type Fields,
  type Rule,
} from './rules.ts'

const MONTH_SECONDS = 2_592_000

const SCOPE = object({ value: text(1, 280), description: text(0, 500) }, { required: ['value'] })

/** Fields of both generations. */
const ALWAYS: Fields = {
  name: text(0, 200, /^[^<>]+$/),
  scopes: list(SCOPE, { most: 1_000 }),
  signing_alg: oneOf('HS256', 'RS256', 'RS512', 'PS256'),
  signing_secret: text(16),
  allow_offline_access: flag,
  token_lifetime: whole(0, MONTH_SECONDS),
  // Not in Auth0's document, but accepted by real tenants.
  token_lifetime_for_web: whole(0, MONTH_SECONDS),
  token_dialect: oneOf(
    'access_token',
    'access_token_authz',
    'rfc9068_profile',
    'rfc9068_profile_authz',
  ),
  enforce_policies: flag,
  skip_consent_for_verifiable_first_party_clients: flag,
}

const ENCRYPTION_KEY = object(
  {
    name: text(1, 128),
    alg: oneOf('RSA-OAEP-256', 'RSA-OAEP-384', 'RSA-OAEP-512'),
    kid: text(1, 128),
    pem: text(1, 4_096),
  },
  { required: ['alg', 'pem'] },
)

const CURRENT: Fields = {
  ...ALWAYS,
  allow_online_access: flag,
  allow_online_access_with_ephemeral_sessions: flag,
  token_encryption: nullable(
    object(
      { format: oneOf('compact-nested-jwe'), encryption_key: ENCRYPTION_KEY },
      { required: ['format', 'encryption_key'] },
    ),
  ),
  consent_policy: nullable(oneOf('transactional-authorization-with-mfa')),
  authorization_details: nullable(list(anything)),
  proof_of_possession: nullable(
    object(
      {
        mechanism: oneOf('mtls', 'dpop'),
        required: flag,
        required_for: oneOf('public_clients', 'all_clients'),
      },
      { required: ['mechanism', 'required'] },
    ),
  ),
  subject_type_authorization: object({
    user: object(
      { policy: oneOf('allow_all', 'deny_all', 'require_client_grant') },
      { open: true },
    ),
    client: object({ policy: oneOf('deny_all', 'require_client_grant') }, { open: true }),
  }),
  authorization_policy: nullable(
    object({ policy_id: text(1, 1_024) }, { required: ['policy_id'] }),
  ),
}

/** The guides of 2019 write a list for some single values, and a single value for some lists: both forms are accepted. */
const either = (...rules: readonly Rule[]): Rule => {
  return (value, at) => {
    const faults = rules.map((rule) => rule(value, at))
    return faults.includes(undefined) ? undefined : faults[0]
  }
}
const names: Rule = either(list(text(1)), text(1))
const one = (rule: Rule): Rule => either(rule, list(rule, { least: 1, most: 1 }))

const LEGACY: Fields = {
  ...ALWAYS,
  token_exchange: one(object({ enabled_subject_token_types: names })),
  client: one(object({ grant_types: names })),
}

/** The fields of an API that callers may set, without its identifier. */
export const FIELDS: Readonly<Record<Generation, Fields>> = { current: CURRENT, legacy: LEGACY }

/** Fields that are stored and returned, and have no effect. */
export const SETTINGS = [
  'token_lifetime_for_web',
  'allow_online_access',
  'allow_online_access_with_ephemeral_sessions',
  'consent_policy',
  'authorization_details',
  'authorization_policy',
] as const

/** The fields of the tenant's own API that may be changed. */
export const OF_SYSTEM: readonly string[] = [
  'token_lifetime',
  'proof_of_possession',
  'skip_consent_for_verifiable_first_party_clients',
  'authorization_policy',
  'subject_type_authorization',
]
