/** What a token must say, all of it. What is undefined is no condition. */
export interface AuthorizeConfig {
  /** All of them are needed. */
  readonly scopes: readonly string[]
  /** One of them is enough. Empty: no such condition. */
  readonly anyScope: readonly string[]
  /** All of them are needed in Auth0's `permissions` claim. */
  readonly permissions: readonly string[]
  /** Whom the token speaks for. */
  readonly subject: 'user' | 'client' | 'any'
  /** Not configured: they are what the issuer exchanges. */
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
  /** What becomes of `may_act` (RFC 8693, section 4.4). */
  readonly mayAct: 'check' | 'require' | 'ignore'
  /** One of them must be `acr`. */
  readonly acrValues: readonly string[] | undefined
  /** How long ago `auth_time` may be: whole seconds, in milliseconds. */
  readonly maxAgeMs: number | undefined
}

/** A claim's name, or the way to it through objects, and what is asked of its value. */
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
