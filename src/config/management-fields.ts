import { z } from 'zod'

/*
 * The fields of Auth0's Management API v2 that may be set one by one, with its names and bounds, so that faults are reported
 * before anything is sent.
 */

const MONTH_SECONDS = 2_592_000

const scope = z.string().min(1).max(280)

const server = {
  /** Only for a resource server that is made in the place of another. */
  identifier: z.string().min(1).max(600),
  name: z
    .string()
    .max(200)
    .regex(/^[^<>]+$/, 'must not hold < or >'),
  scopes: z
    .array(z.strictObject({ value: scope, description: z.string().max(500).optional() }))
    .max(1_000),
  signing_alg: z.enum(['HS256', 'RS256', 'RS512', 'PS256']),
  signing_secret: z.string().min(16),
  allow_offline_access: z.boolean(),
  token_lifetime: z.int().min(0).max(MONTH_SECONDS),
  token_dialect: z.enum([
    'access_token',
    'access_token_authz',
    'rfc9068_profile',
    'rfc9068_profile_authz',
  ]),
  enforce_policies: z.boolean(),
  skip_consent_for_verifiable_first_party_clients: z.boolean(),
}

const currentServer = {
  ...server,
  allow_online_access: z.boolean(),
  token_encryption: z
    .strictObject({
      format: z.literal('compact-nested-jwe'),
      encryption_key: z.strictObject({
        alg: z.enum(['RSA-OAEP-256', 'RSA-OAEP-384', 'RSA-OAEP-512']),
        pem: z.string().min(1).max(4_096),
        name: z.string().min(1).max(128).optional(),
        kid: z.string().min(1).max(128).optional(),
      }),
    })
    .nullable(),
  consent_policy: z.literal('transactional-authorization-with-mfa').nullable(),
  authorization_details: z.array(z.strictObject({ type: z.string().min(1) })).nullable(),
  proof_of_possession: z
    .strictObject({
      mechanism: z.enum(['mtls', 'dpop']),
      required: z.boolean(),
      required_for: z.enum(['public_clients', 'all_clients']).optional(),
    })
    .nullable(),
  subject_type_authorization: z.strictObject({
    user: z
      .strictObject({ policy: z.enum(['allow_all', 'deny_all', 'require_client_grant']) })
      .optional(),
    client: z.strictObject({ policy: z.enum(['deny_all', 'require_client_grant']) }).optional(),
  }),
}

const legacyServer = {
  ...server,
  token_exchange: z.strictObject({ enabled_subject_token_types: z.array(z.string().min(1)) }),
  client: z.strictObject({ grant_types: z.array(z.string().min(1)) }),
}

const legacyGrant = {
  client_id: z.string().min(1),
  audience: z.string().min(1),
  scope: z.array(scope),
}

const currentGrant = {
  ...legacyGrant,
  subject_type: z.enum(['client', 'user']),
  organization_usage: z.enum(['deny', 'allow', 'require']).nullable(),
  allow_any_organization: z.boolean().nullable(),
  authorization_details_types: z.array(z.string().min(1).max(255)),
  allow_all_scopes: z.boolean().nullable(),
}

const FIELDS = {
  current: { 'resource-server': currentServer, 'client-grant': currentGrant },
  legacy: { 'resource-server': legacyServer, 'client-grant': legacyGrant },
}

/** The names of all fields that an object may have. */
export function settableFields(
  generation: 'current' | 'legacy',
  kind: 'resource-server' | 'client-grant',
): readonly string[] {
  return Object.keys(FIELDS[generation][kind])
}

/** The faults of one object's fields, each with the field's name; empty where there are none. Quotes no value. */
export function fieldFaults(
  generation: 'current' | 'legacy',
  kind: 'resource-server' | 'client-grant',
  fields: Readonly<Record<string, unknown>>,
): readonly string[] {
  const schema = z.strictObject(FIELDS[generation][kind]).partial()
  return (schema.safeParse(fields).error?.issues ?? []).map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  )
}
