import { z } from 'zod'
import { client } from './client-options.ts'
import {
  text,
  duration,
  oneOrMany,
  parameter,
  parameterName,
  resourceIndicator,
  FOREVER_MS,
  secretHeader,
  scopes,
} from './values.ts'

/** `exchanges.ts` judges how these options go together, and with the issuer's profile. */
export const exchange = z
  .strictObject({
    grant: z
      .enum([
        'token-exchange',
        'jwt-bearer',
        'refresh-token',
        'client-credentials',
        'passthrough',
        'none',
      ])
      .optional()
      .describe(
        'How the token for the upstream is had. `token-exchange`: RFC 8693. `jwt-bearer`: the On-Behalf-Of of Microsoft ' +
          "Entra ID. `refresh-token`: the caller's own refresh token is redeemed for the target, as with Auth0's " +
          "Multi-Resource Refresh Tokens; with profiles `auth0`, `auth0-legacy`, `rfc8693` and `entra`. `client-credentials`: the API's own token, which names no user. `passthrough`: the caller's own " +
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
        'With `key: context`, or `renew`: claims that may differ. Never those that say whose a token is: `iss`, `sub`, ' +
          '`oid`, `tid`, `org_id`, `act`, `cnf`. Danger: name none that decides what the user may do.',
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
    renew: z
      .enum(['refresh-token'])
      .optional()
      .describe(
        'How an issued token is renewed after its end. `refresh-token`: by the refresh token that its exchange gave, for ' +
          'which `offline_access` is asked for, too (with profile `keycloak`: the type of a refresh token). Each is kept ' +
          'in memory, used once, and never again after its subject was refused. Only with `token-exchange` and ' +
          '`jwt-bearer`; profiles `auth0` and `okta` give none. Default: by another exchange.',
      ),
    refreshTokenHeader: secretHeader()
      .optional()
      .describe(
        'The header in which the caller brings its refresh token. It is stripped from the requests of all routes, in every ' +
          'spelling. Required with `grant: refresh-token`, and only there, as are the next three.',
      ),
    returnRefreshToken: z
      .boolean()
      .optional()
      .describe(
        'Tell the caller in the same header of the answer, with `Cache-Control: no-store`, what replaced the refresh token ' +
          'that it brought. Required unless `refreshTokenRotation: false`: a caller that goes on with a token that was ' +
          'replaced loses its session.',
      ),
    refreshTokenRotation: z
      .boolean()
      .optional()
      .describe(
        "Whether the issuer replaces the client's refresh tokens when they are redeemed. Default `true`.",
      ),
    client: client
      .unwrap()
      .optional()
      .describe(
        'The client that obtained the refresh token, with what it authenticates: no other can redeem it. Required with ' +
          '`grant: refresh-token`, and only there.',
      ),
    bound: z
      .enum(['dpop', 'mtls'])
      .optional()
      .describe(
        "What the issued token must be bound to: `dpop` (RFC 9449): the client's `dpopKey`, of which the upstream gets a " +
          "fresh proof with each request. `mtls` (RFC 8705): the client's `certificate`, which the issuer and the " +
          'upstream are both shown; the upstream must be `https:`. A token that is not bound so is never sent on. ' +
          'Default: a bearer token, and one that is bound is refused.',
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

export type ExchangeInput = z.output<typeof exchange>
