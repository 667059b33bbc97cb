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
      'The name of the claim, whatever characters it holds: it is never taken apart. A list is a way into objects: ' +
        '`[realm_access, roles]`. Lists are not entered.',
    ),
    equals: comparand()
      .optional()
      .describe(
        'What the claim must be, exactly: `"1"` is not `1`. Each entry has exactly one of `equals`, `oneOf`, ' +
          '`contains` and `exists`.',
      ),
    oneOf: z
      .array(comparand())
      .min(1)
      .optional()
      .describe('Values of which the claim must be one.'),
    contains: oneOrMany(comparand())
      .optional()
      .describe('What the claim, a list, must hold; of a list, all of it. Text is no list.'),
    exists: z
      .boolean()
      .optional()
      .describe('Whether the claim must be there, or must not. `null` is as if it were not.'),
  })
  .describe('A condition on a claim.')

const actors = z
  .strictObject({
    allow: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        'Who may act for the subject: the `sub` of the outermost `act`, which alone decides (RFC 8693, section 4.1). ' +
          'An actor of another issuer (`act.iss`) is none of these. Absent: anybody may.',
      ),
    required: z
      .boolean()
      .prefault(false)
      .describe('Whether somebody must act for the subject: the token must have an `act`.'),
    maxDepth: z
      .int()
      .min(0)
      .max(100)
      .optional()
      .describe(
        'How many may act one for another: the levels of `act`. `0`: nobody may act. Default: `3` where profile ' +
          '`auth0` exchanges the token, which refuses longer chains; otherwise any number.',
      ),
  })
  .optional()
  .describe('Who acts for the subject, according to the `act` claim.')

/** `authorizations.ts` judges how these options go together, and with the issuer's profile. */
export const authorize = z
  .strictObject({
    scopes: scopes('Scopes that the token must hold, all of them.'),
    anyScope: scopes('Scopes of which the token must hold one.'),
    permissions: z
      .array(text())
      .prefault([])
      .describe("Entries that Auth0's `permissions` claim must hold, all of them."),
    subject: z
      .enum(['user', 'client', 'any'])
      .optional()
      .describe(
        'Whom the token must speak for: a `user`, or a `client` itself (client credentials). A token that does not ' +
          'tell is neither. Default: `user` where the profile (`auth0`, `auth0-legacy`, `entra`) exchanges tokens of ' +
          'users alone, else `any`. Profile `zitadel` knows `any` alone: its tokens do not tell.',
      ),
    clients: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        'Clients of which one must have obtained the token: its `azp` or `client_id` (`appid` with profile `entra`, ' +
          '`cid` with `okta`).',
      ),
    organizations: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        "Organizations of which the token must name one, by its id: Auth0's `org_id`. Names can change hands: to go by " +
          '`org_name` all the same, use `claims`.',
      ),
    claims: z
      .array(claim)
      .prefault([])
      .describe('Conditions on claims, all of which must hold. Danger: names are case-sensitive.'),
    authorizationDetails: z
      .array(text())
      .min(1)
      .optional()
      .describe(
        'Types of which the `authorization_details` of the token (RFC 9396) must hold one entry each. What else such ' +
          'an entry says is for the upstream to judge.',
      ),
    actors,
    mayAct: z
      .enum(['check', 'require', 'ignore'])
      .optional()
      .describe(
        'Who may become the actor of the exchange, by the `may_act` claim (RFC 8693, section 4.4). `check`: where the ' +
          "token has one, it names the API's client by `sub` or `client_id`. `require`: it has one. `ignore`: that is " +
          'left to the issuer. Default: `check`. Only where the token is exchanged for its subject.',
      ),
    acrValues: z
      .array(text().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'must be a single value, without spaces'))
      .min(1)
      .optional()
      .describe(
        'Ways to authenticate (`acr`) of which the user must have used one, the preferred first. Otherwise the answer ' +
          'is a step-up challenge (RFC 9470).',
      ),
    maxAge: duration({ most: FOREVER_MS })
      .refine((ms) => ms % 1_000 === 0, 'must be whole seconds')
      .optional()
      .describe(
        'How long ago the user may have authenticated (`auth_time`). Otherwise, or where the token does not say, the ' +
          'answer is a step-up challenge (RFC 9470).',
      ),
  })
  .prefault({})
  .describe(
    'What the token must allow. Evaluated on every request. Absent: any token of the API will do.',
  )
