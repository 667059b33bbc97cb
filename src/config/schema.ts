import { z } from 'zod'
import { admin, server } from './listeners.ts'
import {
  text,
  secret,
  duration,
  size,
  oneOrMany,
  name,
  parameter,
  parameterName,
  routeName,
  issuerIdentifier,
  endpoint,
  resourceIndicator,
  scopeToken,
  upstream,
  path,
  method,
  FOREVER_MS,
} from './values.ts'

/*
 * The shape of `behalf.yaml`, with what each option means, its unit, its default and its danger: the JSON Schema and
 * docs/configuration.md are made from these texts. Only what can be judged by one value alone is judged here;
 * `resolve.ts` judges how values go together.
 */

function scopes(description: string) {
  return z.array(scopeToken()).prefault([]).describe(description)
}

const budget = z
  .strictObject({
    rate: z
      .number()
      .positive()
      .max(1_000_000)
      .describe(
        'Exchanges per second, for all replicas together: each takes `rate / server.replicas`.',
      ),
    burst: z
      .int()
      .min(1)
      .max(1_000_000)
      .prefault(1)
      .describe('How many may leave at once. 1 paces them evenly.'),
  })
  .optional()
  .describe(
    'How many exchanges this issuer is asked for. Absent: `{ rate: 2, burst: 1 }` with profile `auth0`, which is what ' +
      'its smallest plan allows; no limit with the others, where only a 429 of the issuer slows the gateway down.',
  )

export const issuerSchema = z.strictObject({
  issuer: oneOrMany(issuerIdentifier()).describe(
    'The issuer identifier, one or a list (custom domains), compared with the `iss` of tokens exactly: ' +
      "Auth0's end with a slash. `http:` is accepted for loopback hosts only.",
  ),
  profile: z
    .enum(['auth0', 'auth0-legacy', 'rfc8693', 'keycloak', 'entra', 'okta', 'zitadel'])
    .describe(
      'What kind of issuer it is: `auth0` (On-Behalf-Of), `auth0-legacy` (that of 2019), `keycloak` (26.2 and later), ' +
        '`entra` (Microsoft Entra ID), `okta`, `zitadel`, or `rfc8693` (any issuer that follows the RFC). There is no ' +
        'default: each has its own form, checks and errors.',
    ),
  tokenEndpoint: endpoint()
    .optional()
    .describe(
      "Where tokens are exchanged. Default: discovered from the issuer's metadata (RFC 8414).",
    ),
  jwksUri: endpoint()
    .optional()
    .describe(
      "Where the issuer's public keys are. Default: discovered from its metadata (RFC 8414).",
    ),
  dangerouslyAllowHttp: z
    .boolean()
    .prefault(false)
    .describe(
      'Accept `http:` beyond loopback. Danger: tokens and secrets travel in the clear. For tests only.',
    ),
  budget,
})

const algorithms = ['HS256', 'RS256', 'RS512', 'PS256', 'ES256', 'EdDSA'] as const

const client = z
  .strictObject({
    id: text().describe('The client id.'),
    method: z
      .enum(['client_secret_post', 'client_secret_basic'])
      .optional()
      .describe(
        'How the client authenticates at the token endpoint. Default: `client_secret_post` with profiles `auth0`, ' +
          '`auth0-legacy` and `entra`; `client_secret_basic` with the others, which every issuer must take ' +
          '(RFC 6749, section 2.3.1).',
      ),
    secret: secret().describe('The client secret.'),
  })
  .optional()
  .describe(
    'With what the API authenticates to its issuer. Required where a route exchanges its tokens.',
  )

/** An expired token is accepted for that long. */
const LONGEST_TOLERANCE_MS = 300_000

export const apiSchema = z.strictObject({
  issuer: text().describe('The name of the issuer, as it stands below `issuers`.'),
  audience: text().describe(
    'The audience that its access tokens must name: an entry of `aud`, exactly.',
  ),
  algorithms: z
    .array(z.enum(algorithms))
    .min(1)
    .optional()
    .describe(
      "The signature algorithms that are accepted, whatever a token's header says. `HS256` needs a signing secret; the " +
        "others use the issuer's key set (JWKS); they cannot be mixed. Default: `[HS256]` with a signing secret, " +
        '`[RS256]` without.',
    ),
  signingSecret: secret()
    .optional()
    .describe(
      'The secret that tokens are signed with (`HS256`), as raw UTF-8, of at least 32 bytes. Danger: whoever has it can ' +
        'make tokens.',
    ),
  signingSecrets: z
    .array(secret())
    .min(1)
    .optional()
    .describe('Several of them, while one is being replaced. Instead of `signingSecret`.'),
  clockTolerance: duration({ least: 0, most: LONGEST_TOLERANCE_MS })
    .prefault('5s')
    .describe('How far the clocks of issuer and gateway may differ. At most `5m`.'),
  client,
})

const match = z
  .strictObject({
    path: path().describe(
      'The path, in whole segments: `/orders` holds `/orders` and `/orders/1`, not `/orders-admin`. ' +
        'Of several routes the longest path wins.',
    ),
    methods: z
      .array(method())
      .min(1)
      .refine((methods) => new Set(methods).size === methods.length, 'must not repeat a method')
      .optional()
      .describe(
        'The methods, in upper case. HEAD is taken only where it is listed. Default: all but CONNECT and TRACE.',
      ),
    pathParameters: z
      .boolean()
      .prefault(false)
      .describe('Accept `;` in paths. Danger: servers disagree about what it means.'),
  })
  .describe('Which requests the route takes.')

const authenticate = z
  .strictObject({
    api: text().describe('The API that the token must be for: its name below `apis`.'),
  })
  .describe('Whose access tokens are accepted.')

const authorize = z
  .strictObject({
    scopes: scopes('Scopes that the token must hold, all of them.'),
    anyScope: scopes('Scopes of which the token must hold one.'),
    permissions: z
      .array(text())
      .prefault([])
      .describe("Entries that Auth0's `permissions` claim must hold, all of them."),
  })
  .prefault({})
  .describe(
    'What the token must allow. Evaluated on every request. Absent: any token of the API will do.',
  )

const exchange = z
  .strictObject({
    grant: z
      .enum(['token-exchange', 'jwt-bearer', 'client-credentials', 'passthrough', 'none'])
      .optional()
      .describe(
        'How the token for the upstream is had. `token-exchange`: RFC 8693. `jwt-bearer`: the On-Behalf-Of of Microsoft ' +
          "Entra ID. `client-credentials`: the API's own token, which names no user. `passthrough`: the caller's own " +
          'token, as it came; needs `because`. `none`: no credentials at all. Default: `jwt-bearer` with profile ' +
          '`entra`, `token-exchange` with the others.',
      ),
    because: text()
      .optional()
      .describe(
        'Why the upstream may have a token that was meant for the API. Required with `grant: passthrough`, and only ' +
          'there. Danger: the upstream can use that token wherever the caller can.',
      ),
    audience: oneOrMany(text())
      .optional()
      .describe(
        'The audience that is asked for, one or a list. With `token-exchange`, `audience` or `resource` is needed; ' +
          'profile `entra` takes neither, but names its target in `scopes`.',
      ),
    resource: oneOrMany(resourceIndicator())
      .optional()
      .describe(
        'The resource indicator (RFC 8707) that is asked for, one or a list. Only with profile `rfc8693`.',
      ),
    scopes: scopes(
      'The scopes that are asked for. None: what the issuer gives, and scopes are not checked.',
    ),
    key: z
      .enum(['token', 'context'])
      .prefault('token')
      .describe(
        'Whom a kept token is for. `token`: the bearer of exactly this access token. `context`: the bearer of any token ' +
          'with the same claims but `exp`, `iat`, `nbf`, `jti` and `ignoreClaims`, so that a refreshed token needs no ' +
          'exchange.',
      ),
    ignoreClaims: z
      .array(text())
      .prefault([])
      .describe(
        'With `key: context`: claims that may differ. Danger: name none that decides what the user may do.',
      ),
    maxAge: duration({ most: FOREVER_MS })
      .prefault('1h')
      .describe('The longest that an issued token is used, whatever its own life.'),
    defaultLifetime: duration({ most: FOREVER_MS })
      .prefault('5m')
      .describe('The life of an issued token that does not tell its own.'),
    timeout: duration()
      .prefault('5s')
      .describe('How long an exchange may take, waiting for the budget included.'),
    expectAudience: text()
      .optional()
      .describe(
        'The audience that the issued token must name. Default: each `audience`, else each `resource`; where there is ' +
          'neither, audiences are not checked. With `passthrough`: what the `aud` of the token itself must hold.',
      ),
    delegation: z
      .boolean()
      .optional()
      .describe(
        "Send an actor token, the API's own from its client credentials grant, so that the issued token names who acts " +
          '(RFC 8693, section 1.1). Only with `token-exchange` and profiles `rfc8693` and `zitadel`. Default `false`.',
      ),
    parameters: z
      .record(parameterName(), parameter())
      .prefault({})
      .describe(
        'Changes to the form that is sent, by the name of a field. Text adds or replaces the field; `null` leaves it ' +
          'out; `{ rename: other }` sends it by another name. What has an option of its own cannot be replaced, and ' +
          'what authenticates the client cannot be touched.',
      ),
    extraScopes: z
      .enum(['refuse', 'allow'])
      .optional()
      .describe(
        'What to do with an issued token that holds more scopes than were asked for. Default: `allow` with ' +
          'profiles `keycloak`, `okta` and `entra`, which add scopes of their own; `refuse` with the others.',
      ),
  })
  .describe('What the token is exchanged for.')

const proxy = z
  .strictObject({
    upstream: upstream().describe('Where the request goes: origin and optional base path.'),
    timeout: duration()
      .prefault('30s')
      .describe('How long the upstream may stay silent, before its answer begins and within it.'),
    cookies: z
      .enum(['strip', 'keep'])
      .prefault('strip')
      .describe("Whether the caller's cookies reach the upstream."),
  })
  .describe('Where the request goes with the issued token.')

export const routeSchema = z.strictObject({
  name: routeName().optional().describe('Its name in logs and metrics. Default: its path.'),
  match,
  authenticate,
  authorize,
  exchange,
  proxy,
})

const cache = z
  .strictObject({
    maxEntries: z
      .int()
      .min(1)
      .max(100_000_000)
      .prefault(100_000)
      .describe('How many issued tokens are kept; the least recently used goes first.'),
    maxBytes: size()
      .refine((bytes) => bytes >= 65_536, 'must be at least 64KiB')
      .prefault('256MiB')
      .describe('What everything kept may weigh: issued tokens, and a quarter for verified ones.'),
  })
  .prefault({})
  .describe('How much is kept in memory.')

export const configurationSchema = z
  .strictObject({
    server,
    admin,
    issuers: z
      .record(name(), issuerSchema)
      .describe('The authorization servers, by a name of your choice.'),
    apis: z
      .record(name(), apiSchema)
      .describe(
        'The APIs whose tokens are accepted, and which act as clients; by a name of your choice.',
      ),
    routes: z.array(routeSchema).min(1).describe('What is served. The order does not matter.'),
    cache,
  })
  .meta({
    title: 'Behalf',
    description: 'The configuration of Behalf, an On-Behalf-Of token-exchange gateway.',
  })

/** What an object must look like that is given in place of a file. */
export type ConfigInput = z.input<typeof configurationSchema>
