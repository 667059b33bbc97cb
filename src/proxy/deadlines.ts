import type { ServerResponse } from 'node:http'
import type { LimitsConfig } from '../config/limits.ts'

export interface DeadlinesOptions {
  readonly response: ServerResponse
  readonly limits: Pick<LimitsConfig, 'idleMs' | 'totalMs'>
  /** By `performance.now()`. */
  readonly startedAt: number
  /** Called when the request has taken longer than `totalMs`. */
  readonly over: () => void
  /** Called when the caller has read nothing for `idleMs`. */
  readonly unread: () => void
}

/** Limits how long a request may take, and how long its caller may leave an answer unread. */
export class Deadlines {
  readonly #options: DeadlinesOptions
  #total: NodeJS.Timeout | undefined
  #watching = false

  constructor(options: DeadlinesOptions) {
    this.#options = options
    const { limits, startedAt, over } = options
    if (limits.totalMs === undefined) return
    const left = limits.totalMs - (performance.now() - startedAt)
    this.#total = setTimeout(over, Math.max(1, left)).unref()
  }

  /** Times the caller's reading. A few bytes begin the time anew: Node looks at what is left in the socket's queue. */
  await(): void {
    const { response, limits, unread } = this.#options
    if (this.#watching) {
      response.setTimeout(limits.idleMs)
      return
    }
    this.#watching = true
    response.setTimeout(limits.idleMs, unread)
  }

  /** The caller has read: its time no longer runs. */
  rest(): void {
    this.#options.response.setTimeout(0)
  }

  end(): void {
    clearTimeout(this.#total)
  }
}
