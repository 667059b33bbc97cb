/** The limits of a route. */
export interface LimitsConfig {
  /** The largest body, in bytes. Undefined: any. */
  readonly body: number | undefined
  /** The largest header section, in bytes. Undefined: what the listener takes. */
  readonly headers: number | undefined
  /** The most header lines. Default 100. */
  readonly headerCount: number
  /** How long the caller may pause while it sends or reads. Default 30 000. */
  readonly idleMs: number
  /** How long a request may take from its first byte to the answer's last. Undefined: any time. */
  readonly totalMs: number | undefined
  /** The most requests at once. Undefined: as many as the process takes. */
  readonly inFlight: number | undefined
  /** At most one for each value of `by`. */
  readonly rates: readonly RateConfig[]
}

export interface RateConfig {
  readonly by: 'subject' | 'client' | 'address'
  /** Requests per second, for all replicas together. */
  readonly rate: number
  /** How many may come at once. Default: as many as in one second, at least 1. */
  readonly burst: number
}

/** The limits of one process. */
export interface ServerLimits {
  /** The most connections of callers. Default 10 000. */
  readonly connections: number
  /** The most requests at once, at all doors. Default 10 000. */
  readonly inFlight: number
  /** The most requests that may wait on one connection behind another. Default 64. */
  readonly pipelined: number
  /** How late the event loop may be, in milliseconds. Default 1 000. */
  readonly loopDelayMs: number
}
