import { setImmediate } from 'node:timers/promises'

/** What a process has used so far. */
export interface Used extends NodeJS.CpuUsage {
  /** What is on its heap now, in bytes. */
  readonly heap: number
  /** How often it has collected its garbage by itself. */
  readonly collections: number
}

/** Until an observer has been told of what has happened. */
const TURNS = 5

/**
 * Tells the parent where this process listens and, whenever it asks, what it has used: the CPU time is what the kernel has
 * charged it with.
 */
export function reportUsage(origin: string): void {
  let collections = 0
  new PerformanceObserver((list) => (collections += list.getEntries().length)).observe({
    entryTypes: ['gc'],
  })
  async function tell(asked: unknown): Promise<void> {
    if (asked === 'collect') globalThis.gc?.()
    for (let turn = 0; turn < TURNS; turn++) await setImmediate()
    const { heapUsed: heap } = process.memoryUsage()
    process.send?.({ ...process.cpuUsage(), heap, collections } satisfies Used)
  }

  process.on('message', (asked) => void tell(asked))
  process.on('disconnect', () => process.exit(0))
  process.send?.({ origin })
}
