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
        'How the gateway obtains the token for the upstream. `token-exchange`: by token exchange (RFC 8693). ' +
          "`jwt-bearer`: by the On-Behalf-Of flow of Microsoft Entra ID. `refresh-token`: by redeeming the caller's own " +
          "refresh token for the target, as with Auth0's Multi-Resource Refresh Tokens; with profiles `auth0`, " +
          "`auth0-legacy`, `rfc8693` and `entra`. `client-credentials`: by requesting a token of the API's own, which " +
          "names no user. `passthrough`: the upstream gets the caller's access token unchanged; needs `because`. `none`: " +
          'the upstream gets no credentials. Default: `jwt-bearer` with profile `entra`, `token-exchange` with the ' +
          'others.',
      ),
    because: text()
      .optional()
      .describe(
        'The reason why the upstream may receive a token that was issued for the API. Required with `grant: ' +
          'passthrough`, and only allowed there. Danger: the upstream can use that token wherever the caller can.',
      ),
    audience: oneOrMany(text())
      .optional()
      .describe(
        'The audience to request, one or a list. `token-exchange` needs `audience` or `resource`; profile `entra` takes ' +
          'neither, because its target is named in `scopes`.',
      ),
    resource: oneOrMany(resourceIndicator())
      .optional()
      .describe(
        'The resource indicator to request (RFC 8707), one or a list. Only with profile `rfc8693`.',
      ),
    scopes: scopes(
      'The scopes to request. Without any, the issuer chooses, and the gateway does not check the scopes of the issued ' +
        'token.',
    ),
    key: z
      .enum(['token', 'context'])
      .prefault('token')
      .describe(
        'Which requests share a kept token. `token`: those with exactly the same access token. `context`: those whose ' +
          'access tokens have the same claims, apart from `exp`, `iat`, `nbf`, `jti` and `ignoreClaims`, so that a ' +
          'refreshed access token needs no exchange.',
      ),
    ignoreClaims: z
      .array(text())
      .prefault([])
      .describe(
        'With `key: context` or `renew`: claims that may differ between access tokens that share a kept token. Those ' +
          'that identify the owner of a token are refused: `iss`, `sub`, `oid`, `tid`, `org_id`, `act`, `cnf`. Danger: ' +
          'never list a claim that decides what the user may do.',
      ),
    maxAge: duration({ most: FOREVER_MS })
      .prefault('1h')
      .describe('How long an issued token is used at most, whatever its own lifetime.'),
    defaultLifetime: duration({ most: FOREVER_MS })
      .prefault('5m')
      .describe('The assumed lifetime of an issued token that does not state its own.'),
    timeout: duration()
      .prefault('5s')
      .describe("How long an exchange may take, including the wait for the issuer's budget."),
    expectAudience: text()
      .optional()
      .describe(
        'The audience that the issued token must name. Default: each `audience`, else each `resource`; if neither is ' +
          'set, audiences are not checked. With `passthrough`: the audience that the access token itself must name in ' +
          '`aud`.',
      ),
    delegation: z
      .boolean()
      .optional()
      .describe(
        'Send an actor token, which the API obtains by its client credentials grant, so that the issued token names the ' +
          'API as the actor (RFC 8693, section 1.1). Only with `token-exchange` and profiles `rfc8693` and `zitadel`. ' +
          'Default: `false`.',
      ),
    parameters: z
      .record(parameterName(), parameter())
      .prefault({})
      .describe(
        'Changes to the form that is sent to the token endpoint, by the name of a field. Text adds or replaces the ' +
          'field; `null` removes it; `{ rename: other }` sends it under another name. Fields that have an option of their ' +
          'own cannot be replaced, and fields that authenticate the client cannot be changed.',
      ),
    renew: z
      .enum(['refresh-token'])
      .optional()
      .describe(
        'How an expired issued token is renewed. `refresh-token`: with the refresh token from its exchange, for which ' +
          'the gateway also requests `offline_access` (with profile `keycloak`: a refresh token as the requested type). ' +
          'Refresh tokens are kept in memory, are used once, and are not used after their subject was refused. Only with ' +
          '`token-exchange` and `jwt-bearer`; profiles `auth0` and `okta` issue none. Default: by another exchange.',
      ),
    refreshTokenHeader: secretHeader()
      .optional()
      .describe(
        "The request header with the caller's refresh token. The gateway strips it from the requests of all routes, in " +
          'every spelling. Required with `grant: refresh-token`, and only allowed there, as are `returnRefreshToken`, ' +
          '`refreshTokenRotation` and `client`.',
      ),
    returnRefreshToken: z
      .boolean()
      .optional()
      .describe(
        'Return the new refresh token to the caller when the issuer has replaced the one that it sent: in the same ' +
          'header of the answer, with `Cache-Control: no-store`. Required unless `refreshTokenRotation: false`, because a ' +
          'caller that goes on using a replaced refresh token loses its session.',
      ),
    refreshTokenRotation: z
      .boolean()
      .optional()
      .describe(
        "Whether the issuer replaces the client's refresh tokens when they are redeemed. Default: `true`.",
      ),
    client: client
      .unwrap()
      .optional()
      .describe(
        'The client that obtained the refresh token, with its credentials: no other client can redeem it. Required with ' +
          '`grant: refresh-token`, and only allowed there.',
      ),
    bound: z
      .enum(['dpop', 'mtls'])
      .optional()
      .describe(
        "What the issued token must be bound to. `dpop` (RFC 9449): the client's `dpopKey`; each request to the " +
          "upstream carries a fresh proof. `mtls` (RFC 8705): the client's `certificate`, which the gateway presents to " +
          'the issuer and to the upstream; the upstream must be `https:`. A token that is not bound in this way is never ' +
          'sent on. Default: a bearer token; a bound token is refused.',
      ),
    extraScopes: z
      .enum(['refuse', 'allow'])
      .optional()
      .describe(
        'What to do with an issued token that has more scopes than were requested. Default: `allow` with profiles ' +
          '`keycloak`, `okta` and `entra`, which add scopes of their own; `refuse` with the others.',
      ),
  })
  .describe('What the access token is exchanged for.')

export type ExchangeInput = z.output<typeof exchange>
