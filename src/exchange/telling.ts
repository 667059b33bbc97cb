import type { Filling, SharedStore } from '../store/shared.ts'

/** While something could not be written: how often it is checked whether Redis is back, in milliseconds. */
const TELL_EVERY_MS = 1_000
const UNTOLD_MOST = 10_000

/**
 * Writes entries to Redis, at once or when Redis is back: for what other replicas must know although no request waits for
 * it. At most ten thousand wait; beyond that the oldest is dropped.
 */
export class Telling {
  readonly #store: Pick<SharedStore, 'fill' | 'isConnected'>
  readonly #untold = new Map<string, Filling>()
  #timer: NodeJS.Timeout | undefined

  constructor(store: Pick<SharedStore, 'fill' | 'isConnected'>) {
    this.#store = store
  }

  fill(filling: Filling): void {
    if (this.#store.isConnected) {
      this.#store.fill(filling)
      return
    }
    this.#untold.set(filling.name, filling)
    const [oldest] = this.#untold.keys()
    if (this.#untold.size > UNTOLD_MOST && oldest !== undefined) this.#untold.delete(oldest)
    this.#timer ??= setInterval(() => this.#tellAgain(), TELL_EVERY_MS).unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #tellAgain(): void {
    if (!this.#store.isConnected) return
    for (const filling of this.#untold.values()) this.#store.fill(filling)
    this.#untold.clear()
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
