import { createMemoryStore, type Bounds } from './memory.ts'

/**
 * Keeps values that can be used once: whoever takes one owns it, and nobody else finds it any more. A store that processes
 * share answers with a promise, and rejects where it cannot be reached.
 */
export interface TakingStore<Value> {
  /** Takes it out, in one step. */
  take(key: string): Value | undefined | Promise<Value | undefined>
  /** Replaces what is there. Kept for `ttlMs` milliseconds from now. */
  put(key: string, value: Value, ttlMs: number, bytes: number): void | Promise<void>
}

/** A store of this process alone. */
export function createMemoryTakingStore<Value extends object>(bounds: Bounds): TakingStore<Value> {
  const store = createMemoryStore<Value>(bounds)
  return {
    take(key) {
      const value = store.get(key)
      if (value !== undefined) store.delete(key)
      return value
    },
    put: (key, value, ttlMs, bytes) => store.set(key, value, ttlMs, bytes),
  }
}
