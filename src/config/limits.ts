/** How much of a request a route takes. */
export interface LimitsConfig {
  /** Of a body, in bytes. Undefined: any. */
  readonly body: number | undefined
  /** Of a header section, in bytes. Undefined: what the listener takes. */
  readonly headers: number | undefined
  /** How many header lines. Default 100. */
  readonly headerCount: number
  /** How long the caller may pause, in sending or in reading. Default 30 000. */
  readonly idleMs: number
  /** From the first to the last byte. Undefined: any time. */
  readonly totalMs: number | undefined
}
