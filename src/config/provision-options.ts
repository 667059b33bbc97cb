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
        "The tenant's own domain, not a custom one, because only there the Management API answers. Default: the host of " +
          'the first `issuer`.',
      ),
    clientId: text()
      .optional()
      .describe(
        'The client that may call the Management API. Default: the variable `AUTH0_CLIENT_ID`.',
      ),
    clientSecret: secret()
      .optional()
      .describe('The secret of that client. Default: the variable `AUTH0_CLIENT_SECRET`.'),
    token: secret()
      .optional()
      .describe(
        'An access token for the Management API, instead of a client. Default: the variable `AUTH0_MANAGEMENT_TOKEN`.',
      ),
  })
  .optional()
  .describe(
    "How `behalf provision` reaches the issuer's Management API; with profiles `auth0` and `auth0-legacy`. No other " +
      "command uses it: set it in the environment of whoever runs `behalf provision` rather than in the gateway's.",
  )

const tokenEncryption = z
  .strictObject({
    format: z
      .literal('compact-nested-jwe')
      .prefault('compact-nested-jwe')
      .describe('The format of encrypted tokens. There is no other.'),
    encryptionKey: z
      .strictObject({
        alg: z
          .enum(['RSA-OAEP-256', 'RSA-OAEP-384', 'RSA-OAEP-512'])
          .describe('The algorithm that encrypts the content key.'),
        pem: text()
          .max(4_096)
          .describe('The public key or certificate of the API that decrypts the tokens, in PEM.'),
        name: text().max(128).optional().describe('The name of the key in the dashboard.'),
        kid: text().max(128).optional().describe('The `kid` in the header of tokens.'),
      })
      .describe('The key that its tokens are encrypted to.'),
  })
  .optional()
  .describe(
    'How its tokens are encrypted. Default: for an API with `decryptionKeys`, to the first of them; otherwise the ' +
      "tenant's setting is kept.",
  )

const proofOfPossession = z
  .strictObject({
    mechanism: z.enum(['mtls', 'dpop']).describe('What its tokens are bound to.'),
    required: z.boolean().describe('Whether only bound tokens are issued.'),
    requiredFor: z
      .enum(['public_clients', 'all_clients'])
      .optional()
      .describe("Which clients' tokens must be bound. Default: the tenant's setting is kept."),
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
        'Which applications get tokens for users. Default when the target of an exchange is created: ' +
          '`require_client_grant`.',
      ),
    client: z
      .enum(['deny_all', 'require_client_grant'])
      .optional()
      .describe('Which applications get tokens for themselves. Default: `require_client_grant`.'),
  })
  .optional()
  .describe('Which applications get tokens.')

const audience = z.strictObject({
  name: text()
    .max(200)
    .regex(/^[^<>]*$/, 'must not hold `<` or `>`')
    .optional()
    .describe(
      'The name of the API in the dashboard. Default when it is created: the name of the API below `apis`, else the ' +
        'identifier.',
    ),
  scopes: z
    .record(text().max(280), z.string().max(500))
    .optional()
    .describe('Scopes with their descriptions, in addition to those that routes need.'),
  signingAlg: z
    .enum(['HS256', 'RS256', 'RS512', 'PS256'])
    .optional()
    .describe(
      'The signature algorithm of its tokens. Default: the one that the API of this audience accepts; else `RS256` ' +
        'when it is created.',
    ),
  tokenLifetime: z
    .int()
    .min(0)
    .max(MONTH_SECONDS)
    .optional()
    .describe("The lifetime of its tokens, in seconds. Default: the tenant's setting is kept."),
  tokenDialect: z
    .enum(['access_token', 'access_token_authz', 'rfc9068_profile', 'rfc9068_profile_authz'])
    .optional()
    .describe(
      "The format and claims of its tokens. Default: what the API and its routes need; else the tenant's setting is " +
        'kept.',
    ),
  enforcePolicies: z
    .boolean()
    .optional()
    .describe(
      'Whether users get only scopes that they hold as permissions (RBAC). Default: `true` where a route requires ' +
        "`permissions`; else the tenant's setting is kept.",
    ),
  allowOfflineAccess: z
    .boolean()
    .optional()
    .describe(
      "Whether `offline_access` yields a refresh token. Default: `true` where routes need one; else the tenant's " +
        'setting is kept.',
    ),
  tokenEncryption,
  proofOfPossession,
  authorizationDetails: z
    .array(text())
    .optional()
    .describe('The types of authorization details (RFC 9396) that the API accepts.'),
  subjectTypeAuthorization: subjectTypes,
  skipConsentForVerifiableFirstPartyClients: z
    .boolean()
    .optional()
    .describe(
      'Whether verifiable first-party clients get tokens without asking the user for consent. Default for a target: ' +
        '`true`, because no user is present during an exchange.',
    ),
  consentPolicy: z
    .literal('transactional-authorization-with-mfa')
    .optional()
    .describe("When users are asked for consent. Default: the tenant's setting is kept."),
})

const grant = z.strictObject({
  api: text().describe('The API that acts as the client: its name below `apis`.'),
  audience: text().describe('The audience that the client may request tokens for.'),
  subjectType: z
    .enum(['user', 'client'])
    .prefault('user')
    .describe('Whether the client requests tokens for users (`user`) or for itself (`client`).'),
  scopes: z
    .array(text().max(280))
    .optional()
    .describe('Scopes in addition to those that routes request.'),
  organizationUsage: z
    .enum(['deny', 'allow', 'require'])
    .optional()
    .describe(
      "Whether a request may name an organization; for `subjectType: client`. Default: the tenant's setting is kept.",
    ),
  allowAnyOrganization: z
    .boolean()
    .optional()
    .describe(
      "Whether a request may name any organization; for `subjectType: client`. Default: the tenant's setting is kept.",
    ),
  authorizationDetailsTypes: z
    .array(text().max(255))
    .optional()
    .describe(
      'The types of authorization details that the client may request; for `subjectType: user`.',
    ),
  allowAllScopes: z
    .boolean()
    .optional()
    .describe(
      'Grant every scope of the audience, present and future. Danger: a scope that is added later is granted at once.',
    ),
})

export const provision = z
  .strictObject({
    audiences: z
      .record(text().max(600), audience)
      .prefault({})
      .describe("APIs of the tenant, by identifier, with Auth0's fields in camelCase."),
    grants: z.array(grant).prefault([]).describe('Client grants, by API and audience.'),
  })
  .prefault({})
  .describe(
    'What `behalf provision` sets up in addition to what the routes need. `behalf serve` does not use it.',
  )

/** With the names and units of the file. */
export type ProvisionConfig = z.output<typeof provision>
export type ManagementConfig = NonNullable<z.output<typeof management>>
