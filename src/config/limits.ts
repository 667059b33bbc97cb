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
  /** Requests at once. Undefined: as many as the process takes. */
  readonly inFlight: number | undefined
  /** At most one of each `by`. */
  readonly rates: readonly RateConfig[]
}

export interface RateConfig {
  readonly by: 'subject' | 'client' | 'address'
  /** Requests per second, for all replicas together. */
  readonly rate: number
  /** How many may come at once. Default: those of one second, at least 1. */
  readonly burst: number
}

/** How much one process takes. */
export interface ServerLimits {
  /** Default 10 000. */
  readonly connections: number
  /** Requests at once, at all doors. Default 10 000. */
  readonly inFlight: number
  /** Requests that wait on one connection behind another. Default 64. */
  readonly pipelined: number
  /** How late the event loop may be. Default 1 000. */
  readonly loopDelayMs: number
}
