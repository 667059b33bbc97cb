import type { ServerResponse } from 'node:http'
import type { LimitsConfig } from '../config/limits.ts'

export interface DeadlinesOptions {
  readonly response: ServerResponse
  readonly limits: Pick<LimitsConfig, 'idleMs' | 'totalMs'>
  /** By `performance.now()`. */
  readonly startedAt: number
  /** The request has taken its time. */
  readonly over: () => void
  /** The caller has not read anything for too long. */
  readonly unread: () => void
}

/** How long a request may take, and how long its caller may leave an answer unread. */
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

  /** The caller must read now. A few bytes are enough: Node asks the connection what is left in its queue. */
  await(): void {
    const { response, limits, unread } = this.#options
    if (this.#watching) {
      response.setTimeout(limits.idleMs)
      return
    }
    this.#watching = true
    response.setTimeout(limits.idleMs, unread)
  }

  /** It has read. */
  rest(): void {
    this.#options.response.setTimeout(0)
  }

  end(): void {
    clearTimeout(this.#total)
  }
}
