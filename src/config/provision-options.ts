import { z } from 'zod'
import { secret, text } from './values.ts'

/* The part of the schema about setting up a tenant; see `schema.ts`. Bounds are those of Auth0's Management API. */

const MONTH_SECONDS = 2_592_000

export const management = z
  .strictObject({
    domain: text()
      .regex(
        /^[a-z0-9.-]+(?::\d{1,5})?$/,
        'must be a host in lower case, such as `tenant.eu.auth0.com`',
      )
      .optional()
      .describe(
        "The tenant's own domain, not a custom one: the Management API is there alone. Default: the host of the first " +
          '`issuer`.',
      ),
    clientId: text()
      .optional()
      .describe(
        'The client that may call the Management API. Default: the variable `AUTH0_CLIENT_ID`.',
      ),
    clientSecret: secret()
      .optional()
      .describe('Its secret. Default: the variable `AUTH0_CLIENT_SECRET`.'),
    token: secret()
      .optional()
      .describe(
        'An access token for the Management API, instead of a client. Default: the variable `AUTH0_MANAGEMENT_TOKEN`.',
      ),
  })
  .optional()
  .describe(
    "How `behalf provision` reaches the issuer's Management API; profiles `auth0` and `auth0-legacy`. Nothing else uses it: " +
      'better kept in the environment of who provisions than of the gateway.',
  )

const tokenEncryption = z
  .strictObject({
    format: z
      .literal('compact-nested-jwe')
      .prefault('compact-nested-jwe')
      .describe('The only one.'),
    encryptionKey: z
      .strictObject({
        alg: z
          .enum(['RSA-OAEP-256', 'RSA-OAEP-384', 'RSA-OAEP-512'])
          .describe('How the content key is encrypted.'),
        pem: text()
          .max(4_096)
          .describe('The public key or certificate of whoever reads the tokens, in PEM.'),
        name: text().max(128).optional().describe('What it is called in the dashboard.'),
        kid: text().max(128).optional().describe('The `kid` in the header of tokens.'),
      })
      .describe('To which key.'),
  })
  .optional()
  .describe(
    'Whom its tokens are encrypted for. Default for an API with `decryptionKeys`: the first of them; else what the tenant has.',
  )

const proofOfPossession = z
  .strictObject({
    mechanism: z.enum(['mtls', 'dpop']).describe('What its tokens are bound to.'),
    required: z.boolean().describe('Whether tokens that are not bound are issued at all.'),
    requiredFor: z
      .enum(['public_clients', 'all_clients'])
      .optional()
      .describe('Whose. Default: what the tenant has.'),
  })
  .optional()
  .describe(
    'What its tokens are bound to. Default: what the API of this audience, or a route with `bound`, needs.',
  )

const subjectTypes = z
  .strictObject({
    user: z
      .enum(['allow_all', 'deny_all', 'require_client_grant'])
      .optional()
      .describe(
        'Who gets tokens for users. Default for a target that is made: `require_client_grant`.',
      ),
    client: z
      .enum(['deny_all', 'require_client_grant'])
      .optional()
      .describe('Who gets tokens for itself. Default: `require_client_grant`.'),
  })
  .optional()
  .describe('Which applications get tokens.')

const audience = z.strictObject({
  name: text()
    .max(200)
    .regex(/^[^<>]*$/, 'must not hold `<` or `>`')
    .optional()
    .describe(
      'What it is called in the dashboard. Default when it is made: the name of the API, else the identifier.',
    ),
  scopes: z
    .record(text().max(280), z.string().max(500))
    .optional()
    .describe('Scopes with their descriptions, beside those that routes ask for.'),
  signingAlg: z
    .enum(['HS256', 'RS256', 'RS512', 'PS256'])
    .optional()
    .describe(
      'How its tokens are signed. Default: as the API of this audience reads them, else `RS256` when it is made.',
    ),
  tokenLifetime: z
    .int()
    .min(0)
    .max(MONTH_SECONDS)
    .optional()
    .describe('How long its tokens live, in seconds. Default: what the tenant has.'),
  tokenDialect: z
    .enum(['access_token', 'access_token_authz', 'rfc9068_profile', 'rfc9068_profile_authz'])
    .optional()
    .describe(
      'What its tokens look like. Default: what the API and its routes need, else what the tenant has.',
    ),
  enforcePolicies: z
    .boolean()
    .optional()
    .describe(
      'Whether users get only scopes that they hold as permissions (RBAC). Default: where a route asks for `permissions`, `true`; else what the tenant has.',
    ),
  allowOfflineAccess: z
    .boolean()
    .optional()
    .describe(
      'Whether `offline_access` gives a refresh token. Default: `true` where routes need one; else what the tenant has.',
    ),
  tokenEncryption,
  proofOfPossession,
  authorizationDetails: z
    .array(text())
    .optional()
    .describe('The types of authorization details (RFC 9396) that it takes.'),
  subjectTypeAuthorization: subjectTypes,
  skipConsentForVerifiableFirstPartyClients: z
    .boolean()
    .optional()
    .describe(
      'Whether nobody is asked for consent. Default for a target: `true`, since nobody is there to be asked.',
    ),
  consentPolicy: z
    .literal('transactional-authorization-with-mfa')
    .optional()
    .describe('When users are asked. Default: what the tenant has.'),
})

const grant = z.strictObject({
  api: text().describe('The API that acts as the client: its name below `apis`.'),
  audience: text().describe('For which audience.'),
  subjectType: z
    .enum(['user', 'client'])
    .prefault('user')
    .describe('Whether for users or for itself.'),
  scopes: z.array(text().max(280)).optional().describe('Scopes beside those that routes ask for.'),
  organizationUsage: z
    .enum(['deny', 'allow', 'require'])
    .optional()
    .describe(
      'Whether an organization may be named; for `subjectType: client`. Default: what the tenant has.',
    ),
  allowAnyOrganization: z
    .boolean()
    .optional()
    .describe('Whether that may be any; for `subjectType: client`. Default: what the tenant has.'),
  authorizationDetailsTypes: z
    .array(text().max(255))
    .optional()
    .describe('The types of authorization details that may be asked for; for `subjectType: user`.'),
  allowAllScopes: z
    .boolean()
    .optional()
    .describe(
      'Grant every scope that the audience has, now and later. Danger: a scope that is added is granted at once.',
    ),
})

export const provision = z
  .strictObject({
    audiences: z
      .record(text().max(600), audience)
      .prefault({})
      .describe("APIs of the tenant, by identifier: Auth0's fields, in camelCase."),
    grants: z.array(grant).prefault([]).describe('Client grants, by API and audience.'),
  })
  .prefault({})
  .describe(
    'What `behalf provision` sets up that routes cannot say. `behalf serve` does not read it.',
  )

/** With the names and units of the file. */
export type ProvisionConfig = z.output<typeof provision>
export type ManagementConfig = NonNullable<z.output<typeof management>>
