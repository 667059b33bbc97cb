import { createMemoryStore, type Bounds } from './memory.ts'

/**
 * What can be used once: whoever takes it owns it, and nobody else finds it any more. A store that processes share answers
 * later, and where it cannot be reached it rejects.
 */
export interface TakingStore<Value> {
  /** Takes it out, in one step. */
  take(key: string): Value | undefined | Promise<Value | undefined>
  /** In the place of what is there. Kept for `ttlMs` milliseconds from now. */
  put(key: string, value: Value, ttlMs: number, bytes: number): void | Promise<void>
}

/** Of this process. */
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
