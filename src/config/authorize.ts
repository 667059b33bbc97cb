/** The conditions on a token, all of which must hold. An undefined one always holds. */
export interface AuthorizeConfig {
  /** All of them are needed. */
  readonly scopes: readonly string[]
  /** One of them is enough. Empty: no such condition. */
  readonly anyScope: readonly string[]
  /** All of them are needed in Auth0's `permissions` claim. */
  readonly permissions: readonly string[]
  /** Whom the token must speak for. */
  readonly subject: 'user' | 'client' | 'any'
  /** Which of these were not configured, but follow from what the issuer's profile exchanges. */
  readonly assumed: { readonly subject: boolean; readonly maxDepth: boolean }
  /** One of them must have obtained the token. */
  readonly clients: readonly string[] | undefined
  /** The token must name one of them in `org_id`. */
  readonly organizations: readonly string[] | undefined
  readonly claims: readonly ClaimCondition[]
  /** Types of RFC 9396 that `authorization_details` must hold, all of them. */
  readonly authorizationDetails: readonly string[] | undefined
  readonly actors: {
    /** The `sub` of the outermost `act`. */
    readonly allow: readonly string[] | undefined
    readonly required: boolean
    /** The most levels of `act`. */
    readonly maxDepth: number | undefined
  }
  /** How `may_act` is treated (RFC 8693, section 4.4). */
  readonly mayAct: 'check' | 'require' | 'ignore'
  /** The token's `acr` must be one of them. */
  readonly acrValues: readonly string[] | undefined
  /** How long ago `auth_time` may be: whole seconds, in milliseconds. */
  readonly maxAgeMs: number | undefined
}

/** A claim's name, or the path to it through objects, and a test of its value. */
export type ClaimCondition =
  /** `oneOf`: the claim is one of the values. `contains`: it is a list that holds all of them. */
  | {
      readonly claim: readonly string[]
      readonly test: 'oneOf' | 'contains'
      readonly values: readonly Comparand[]
    }
  | { readonly claim: readonly string[]; readonly test: 'exists'; readonly exists: boolean }

/** Compared exactly, and never across types. */
export type Comparand = string | number | boolean
