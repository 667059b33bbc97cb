import { z } from 'zod'
import { authorize } from './authorize-options.ts'
import { cache } from './cache-options.ts'
import { client } from './client-options.ts'
import { endpoints } from './endpoint-options.ts'
import { exchange } from './exchange-options.ts'
import { admin, server } from './listeners.ts'
import { management, provision } from './provision-options.ts'
import { proxy } from './proxy-options.ts'
import { proofOfPossession } from './possession-options.ts'
import { decryptionKeys, introspection } from './token-options.ts'
import {
  text,
  secret,
  duration,
  oneOrMany,
  name,
  routeName,
  issuerIdentifier,
  endpoint,
  pathPattern,
  hostPattern,
  method,
  resource,
  scopeToken,
} from './values.ts'

/*
 * The schema of `behalf.yaml`, with the meaning, unit, default and danger of each option: the JSON Schema and
 * docs/configuration.md are made from these texts. The schema judges each value by itself; `resolve.ts` judges how values go
 * together.
 */

const budget = z
  .strictObject({
    rate: z
      .number()
      .positive()
      .max(1_000_000)
      .describe(
        'Exchanges per second, for all replicas together: from one bucket where they share `cache.redis`, else each takes ' +
          '`rate / server.replicas`, for all its workers together.',
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

/** An issuer that has been down for more than a day needs somebody to look at it. */
const LONGEST_STALE_MS = 86_400_000

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
  introspectionEndpoint: endpoint()
    .optional()
    .describe(
      'Where the issuer is asked about tokens that are no JWTs (RFC 7662). Default: discovered from its metadata (RFC 8414).',
    ),
  staleFor: duration({ least: 0, most: LONGEST_STALE_MS })
    .prefault('1h')
    .describe(
      'How long known public keys are used while the issuer does not answer, beyond the 10 minutes that they are fresh. ' +
        'After it, requests are answered 503. Danger: a key that the issuer withdraws while it cannot be reached is ' +
        'trusted for as long. At most `1d`.',
    ),
  dangerouslyAllowHttp: z
    .boolean()
    .prefault(false)
    .describe(
      'Accept `http:` beyond loopback. Danger: tokens and secrets travel in the clear. For tests only.',
    ),
  budget,
  management,
})

const algorithms = ['HS256', 'RS256', 'RS512', 'PS256', 'ES256', 'EdDSA'] as const

/** Expired tokens are accepted for as long as the tolerance. */
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
      'The secret that tokens are signed with (`HS256`), as raw UTF-8, of at least 32 bytes. One that is well known, or ' +
        'repeats itself, is refused. Danger: whoever has it can make tokens.',
    ),
  signingSecrets: z
    .array(secret())
    .min(1)
    .optional()
    .describe('Several of them, while one is being replaced. Instead of `signingSecret`.'),
  dangerouslyShortSecret: z
    .boolean()
    .prefault(false)
    .describe(
      'Accept signing secrets below 32 bytes. Danger: whoever has one token can find a short secret by trying, and then ' +
        'make tokens.',
    ),
  typ: z
    .literal('at+jwt')
    .optional()
    .describe(
      'The kind that the header of each token must name: `at+jwt` (RFC 9068), which nothing else is called. Give it where ' +
        "the issuer's access tokens have it, such as those of Auth0's `rfc9068_profile`. Absent: `JWT`, `at+jwt` or none.",
    ),
  clockTolerance: duration({ least: 0, most: LONGEST_TOLERANCE_MS })
    .prefault('5s')
    .describe('How far the clocks of issuer and gateway may differ. At most `5m`.'),
  resource: resource()
    .optional()
    .describe(
      'The resource identifier of the API (RFC 9728): a URL under `server.publicOrigin`. With it the gateway publishes how ' +
        'the API is protected, at `/.well-known/oauth-protected-resource` and the path of the URL, to everybody; and the ' +
        'challenges of 401 and 403 say where. Absent: nothing is published.',
    ),
  scopesSupported: z
    .array(scopeToken())
    .optional()
    .describe(
      'The scopes that the metadata of `resource` names. `[]` names none. Default: those that routes of this API ask for.',
    ),
  decryptionKeys,
  introspection,
  proofOfPossession,
  client,
})

const match = z
  .strictObject({
    path: pathPattern().describe(
      'The path, in whole segments: `/orders` holds `/orders` and `/orders/1`, not `/orders-admin`. `{id}` is any one ' +
        'segment: `/orders/{id}/items`. Of several routes the longest path wins; from the left, a name comes before a ' +
        'parameter. A path that servers could take for that of a longer route (`/orders/ADMIN` beside `/orders/admin`) is ' +
        'refused.',
    ),
    host: oneOrMany(hostPattern())
      .optional()
      .describe(
        'The host that is asked for, one or a list, in lower case and without a port. `*.example` stands for one label. ' +
          'Routes of the very host come first, then those of a wildcard, then those of any. Danger: callers name the host; ' +
          'it tells routes apart, and protects nothing. Default: any.',
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
    api: text()
      .optional()
      .describe('The API that the token must be for: its name below `apis`. This or `apis`.'),
    apis: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        'The APIs of which the token must be for one: their names. Its `iss` and `aud` say for which, and a token that ' +
          'is for two of them is refused.',
      ),
  })
  .describe('Whose access tokens are accepted.')

export const routeSchema = z.strictObject({
  name: routeName().optional().describe('Its name in logs and metrics. Default: its path.'),
  match,
  authenticate,
  authorize,
  exchange,
  proxy,
})

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
    endpoints,
    cache,
    provision,
  })
  .meta({
    title: 'Behalf',
    description: 'The configuration of Behalf, an On-Behalf-Of token-exchange gateway.',
  })

/** The configuration as an object, in place of a file. */
export type ConfigInput = z.input<typeof configurationSchema>
