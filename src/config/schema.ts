import { z } from 'zod'
import { client } from './client-options.ts'
import { exchange } from './exchange-options.ts'
import { admin, server } from './listeners.ts'
import {
  text,
  secret,
  duration,
  size,
  oneOrMany,
  name,
  routeName,
  issuerIdentifier,
  endpoint,
  upstream,
  path,
  method,
  scopes,
} from './values.ts'

/*
 * The shape of `behalf.yaml`, with what each option means, its unit, its default and its danger: the JSON Schema and
 * docs/configuration.md are made from these texts. Only what can be judged by one value alone is judged here;
 * `resolve.ts` judges how values go together.
 */

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
