/** What a caller presented, from the original request. Each door builds one. */
export interface Presented {
  readonly method: string
  /** The origin that the caller reached, from the configuration; undefined where none is configured. */
  readonly origin: string | undefined
  /** The request target as the caller sees it, canonical. */
  readonly target: string
  readonly scheme: 'Bearer'
  readonly token: string
}
