import { z } from 'zod'
import { duration, FOREVER_MS, oneOrMany, scopes, text } from './values.ts'

const NOT_A_VALUE = 'must be text, a number, `true` or `false`'

/** A value that a claim is compared with: exactly, and never across types. */
function comparand() {
  return z
    .union([text(), z.number(), z.boolean()], {
      error: ({ input }) => (input == null ? undefined : NOT_A_VALUE),
    })
    .refine(
      // Beyond 2^53 JavaScript reads different integers of JSON as the same number.
      (value) => !Number.isInteger(value) || Number.isSafeInteger(value),
      'must be a number that can be told from its neighbours: below 2^53',
    )
    .meta({ kind: 'text, number, `true` or `false`' })
}

const claim = z
  .strictObject({
    claim: oneOrMany(text()).describe(
      'The name of the claim. It may hold any characters: dots do not separate levels. A list is a path through nested ' +
        'objects: `[realm_access, roles]`. The path does not go through lists.',
    ),
    equals: comparand()
      .optional()
      .describe(
        'The exact value that the claim must have: `"1"` is not `1`. Each entry has exactly one of `equals`, `oneOf`, ' +
          '`contains` and `exists`.',
      ),
    oneOf: z
      .array(comparand())
      .min(1)
      .optional()
      .describe('Values, one of which the claim must have.'),
    contains: oneOrMany(comparand())
      .optional()
      .describe(
        'The value, or all the values of a list, that the claim must contain. The claim must be a list: text contains ' +
          'nothing.',
      ),
    exists: z
      .boolean()
      .optional()
      .describe(
        'Whether the claim must be present (`true`) or absent (`false`). A claim that is `null` counts as absent.',
      ),
  })
  .describe('A condition on a claim.')

const actors = z
  .strictObject({
    allow: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        'The actors that may act for the subject, compared with the `sub` of the outermost `act`, which alone decides ' +
          '(RFC 8693, section 4.1). An actor of another issuer (`act.iss`) never matches. Default: any.',
      ),
    required: z
      .boolean()
      .prefault(false)
      .describe('Whether an actor must act for the subject: the token must have an `act`.'),
    maxDepth: z
      .int()
      .min(0)
      .max(100)
      .optional()
      .describe(
        'The longest chain of actors, in levels of `act`. `0`: no actor may act for the subject. Default: `3` where ' +
          'profile `auth0` exchanges the token, because Auth0 refuses longer chains; otherwise any length.',
      ),
  })
  .optional()
  .describe('Requirements on the actor that acts for the subject, according to the `act` claim.')

/** `authorizations.ts` judges how these options go together, and with the issuer's profile. */
export const authorize = z
  .strictObject({
    scopes: scopes('Scopes that the token must have, all of them.'),
    anyScope: scopes('Scopes, at least one of which the token must have.'),
    permissions: z
      .array(text())
      .prefault([])
      .describe(
        "Permissions that the token must have, all of them, in Auth0's `permissions` claim.",
      ),
    subject: z
      .enum(['user', 'client', 'any'])
      .optional()
      .describe(
        'Whether the token must be for a `user`, or for a `client` itself (client credentials). A token that does not ' +
          'say is neither. Default: `user` where the profile (`auth0`, `auth0-legacy`, `entra`) exchanges only tokens of ' +
          'users, else `any`. Profile `zitadel` supports only `any`, because its tokens do not say.',
      ),
    clients: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        'Client ids, one of which the token must have been issued to: its `azp` or `client_id` (`appid` with profile ' +
          '`entra`, `cid` with `okta`).',
      ),
    organizations: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        "Organization ids, one of which the token must name as Auth0's `org_id`. An organization's name can pass to " +
          'another; to compare `org_name` all the same, use `claims`.',
      ),
    claims: z
      .array(claim)
      .prefault([])
      .describe(
        'Conditions on claims, all of which must hold. Danger: the names of claims are case-sensitive.',
      ),
    authorizationDetails: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        "Types of authorization details (RFC 9396): the token's `authorization_details` must have an entry of each. The " +
          'upstream judges everything else in such an entry.',
      ),
    actors,
    mayAct: z
      .enum(['check', 'require', 'ignore'])
      .optional()
      .describe(
        'How the gateway treats the `may_act` claim, which says who may become the actor of the exchange (RFC 8693, ' +
          "section 4.4). `check`: a token that has the claim must name the API's client in it, by `sub` or `client_id`. " +
          '`require`: the token must also have the claim. `ignore`: the issuer decides. Default: `check`. Only where the ' +
          'token is exchanged for its subject.',
      ),
    acrValues: z
      .array(text().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'must be a single value, without spaces'))
      .min(1)
      .optional()
      .describe(
        'Authentication context classes (`acr`), the preferred one first: the user must have authenticated with one of ' +
          'them. Otherwise the answer is a step-up challenge (RFC 9470).',
      ),
    maxAge: duration({ most: FOREVER_MS })
      .refine((ms) => ms % 1_000 === 0, 'must be whole seconds')
      .optional()
      .describe(
        'How long ago the user may have authenticated (`auth_time`). If it was longer ago, or the token does not say, ' +
          'the answer is a step-up challenge (RFC 9470).',
      ),
  })
  .prefault({})
  .describe(
    'What the access token must allow. The gateway checks it on every request. Default: any token of the API is ' +
      'enough.',
  )
