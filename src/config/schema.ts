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
        'The most exchanges per second, for all replicas together. Replicas that share `cache.redis` take them from one ' +
          'bucket; otherwise each replica takes `rate / server.replicas`, for all its workers together.',
      ),
    burst: z
      .int()
      .min(1)
      .max(1_000_000)
      .prefault(1)
      .describe('How many exchanges may be sent at once. 1 paces them evenly.'),
  })
  .optional()
  .describe(
    'How many exchanges the gateway sends to this issuer. Default: `{ rate: 2, burst: 1 }` with profile `auth0`, ' +
      "which is what Auth0's smallest plan allows; no limit with the others, where only a 429 from the issuer slows " +
      'the gateway down.',
  )

/** An issuer that has been down for more than a day needs somebody to look at it. */
const LONGEST_STALE_MS = 86_400_000

export const issuerSchema = z.strictObject({
  issuer: oneOrMany(issuerIdentifier()).describe(
    "The issuer identifier, one or a list (custom domains), compared exactly with the `iss` of tokens: Auth0's " +
      'identifiers end with a slash. `http:` is accepted for loopback hosts only.',
  ),
  profile: z
    .enum(['auth0', 'auth0-legacy', 'rfc8693', 'keycloak', 'entra', 'okta', 'zitadel'])
    .describe(
      "The kind of issuer: `auth0` (On-Behalf-Of), `auth0-legacy` (Auth0's exchange of 2019), `keycloak` (26.2 and " +
        'later), `entra` (Microsoft Entra ID), `okta`, `zitadel`, or `rfc8693` (any issuer that follows the RFC). There ' +
        'is no default, because each profile has its own requests, checks and errors.',
    ),
  tokenEndpoint: endpoint()
    .optional()
    .describe(
      "The token endpoint, where tokens are exchanged. Default: discovered from the issuer's metadata (RFC 8414).",
    ),
  jwksUri: endpoint()
    .optional()
    .describe(
      "The URL of the issuer's public keys (JWKS). Default: discovered from the issuer's metadata (RFC 8414).",
    ),
  introspectionEndpoint: endpoint()
    .optional()
    .describe(
      'The introspection endpoint, where the gateway asks about tokens that are not JWTs (RFC 7662). Default: ' +
        "discovered from the issuer's metadata (RFC 8414).",
    ),
  staleFor: duration({ least: 0, most: LONGEST_STALE_MS })
    .prefault('1h')
    .describe(
      'How long the gateway goes on using known public keys while the issuer does not answer, beyond the 10 minutes ' +
        'for which they are fresh. After that, requests are answered with 503. Danger: a key that the issuer withdraws ' +
        'while it cannot be reached is trusted for as long. At most `1d`.',
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
  issuer: text().describe('The issuer of its access tokens: a name below `issuers`.'),
  audience: text().describe(
    'The audience that its access tokens must name, as an exact entry of `aud`.',
  ),
  algorithms: z
    .array(z.enum(algorithms))
    .min(1)
    .optional()
    .describe(
      "The accepted signature algorithms, whatever a token's header says. `HS256` needs a signing secret; the others " +
        "use the issuer's key set (JWKS). They cannot be mixed. Default: `[HS256]` with a signing secret, `[RS256]` " +
        'without.',
    ),
  signingSecret: secret()
    .optional()
    .describe(
      'The secret that the issuer signs tokens with (`HS256`), as raw UTF-8 of at least 32 bytes. A well-known or ' +
        'repetitive secret is refused. Danger: anyone who has the secret can make tokens.',
    ),
  signingSecrets: z
    .array(secret())
    .min(1)
    .optional()
    .describe('Several signing secrets, instead of `signingSecret`, while one is being replaced.'),
  dangerouslyShortSecret: z
    .boolean()
    .prefault(false)
    .describe(
      'Accept signing secrets below 32 bytes. Danger: anyone who has one token can find a short secret by trying, and ' +
        'then make tokens.',
    ),
  typ: z
    .literal('at+jwt')
    .optional()
    .describe(
      'The `typ` that the header of each token must have: `at+jwt` (RFC 9068), which no other kind of token has. Set ' +
        "it if the issuer's access tokens have it, as with Auth0's `rfc9068_profile`. Default: `JWT`, `at+jwt` or no " +
        '`typ` is accepted.',
    ),
  clockTolerance: duration({ least: 0, most: LONGEST_TOLERANCE_MS })
    .prefault('5s')
    .describe('How far the clocks of the issuer and the gateway may differ. At most `5m`.'),
  resource: resource()
    .optional()
    .describe(
      'The resource identifier of the API (RFC 9728): a URL under `server.publicOrigin`. With it, the gateway ' +
        'publishes how the API is protected, to everybody, at `/.well-known/oauth-protected-resource` followed by the ' +
        'path of the URL; the challenges of 401 and 403 point there. Default: nothing is published.',
    ),
  scopesSupported: z
    .array(scopeToken())
    .optional()
    .describe(
      'The scopes that the metadata of `resource` lists. `[]` lists none. Default: the scopes that the routes of this ' +
        'API require.',
    ),
  decryptionKeys,
  introspection,
  proofOfPossession,
  client,
})

const match = z
  .strictObject({
    path: pathPattern().describe(
      'The path, in whole segments: `/orders` matches `/orders` and `/orders/1`, but not `/orders-admin`. `{id}` ' +
        'matches any one segment: `/orders/{id}/items`. If several routes match, the first segment from the left that ' +
        'differs decides: a name comes before a parameter. If none differs, the longer path wins. A request is refused ' +
        'if a server could read its path as that of a longer route (`/orders/ADMIN` beside `/orders/admin`).',
    ),
    host: oneOrMany(hostPattern())
      .optional()
      .describe(
        'The requested host, one or a list, in lower case and without a port. `*.example` stands for one label. Routes ' +
          'with the exact host come first, then routes with a wildcard, then routes without `host`. Danger: the caller ' +
          'chooses the host that it sends; `host` distinguishes routes, and protects nothing. Default: any.',
      ),
    methods: z
      .array(method())
      .min(1)
      .refine((methods) => new Set(methods).size === methods.length, 'must not repeat a method')
      .optional()
      .describe(
        'The methods, in upper case. A list with GET does not include HEAD, which must be listed, too. Default: all but ' +
          'CONNECT and TRACE.',
      ),
    pathParameters: z
      .boolean()
      .prefault(false)
      .describe('Accept `;` in paths. Danger: servers disagree about what it means.'),
  })
  .describe('Which requests the route matches.')

const authenticate = z
  .strictObject({
    api: text()
      .optional()
      .describe(
        'The API that the access token must be for: a name below `apis`. Exactly one of `api` and `apis` is needed.',
      ),
    apis: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        'Several APIs, by name: the access token must be for one of them. Its `iss` and `aud` say which one; a token ' +
          'that is for two of them is refused.',
      ),
  })
  .describe('Which access tokens the route accepts.')

export const routeSchema = z.strictObject({
  name: routeName()
    .optional()
    .describe('The name of the route in logs and metrics. Default: its path.'),
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
      .describe('The authorization servers, by names of your choice.'),
    apis: z
      .record(name(), apiSchema)
      .describe(
        'The APIs whose access tokens are accepted, and which act as clients of their issuers; by names of your choice.',
      ),
    routes: z
      .array(routeSchema)
      .min(1)
      .describe('The routes that the gateway serves. Their order does not matter.'),
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
