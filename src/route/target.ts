/** A request target in the one spelling that is matched and forwarded. */
export interface Target {
  /** Begins with `/`. As it was sent: canonicalising refuses, it never rewrites. */
  readonly path: string
  /** Begins with `?`, or is empty. */
  readonly query: string
}
