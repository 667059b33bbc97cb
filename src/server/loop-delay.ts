import { monitorEventLoopDelay } from 'node:perf_hooks'

/** How late the event loop of this process is. */
export interface LoopDelay {
  /** Whether it is too late to take more requests. Costs a property look-up. */
  readonly isTooLate: boolean
  /** As it was last measured. */
  readonly ms: number
  close(): void
}

/** As `monitorEventLoopDelay` gives it, in nanoseconds. */
export interface Delays {
  enable(): boolean
  disable(): boolean
  reset(): void
  percentile(percent: number): number
}

const RESOLUTION_MS = 20
const SAMPLE_MS = 250

/**
 * Measures the delay every quarter of a second. It is too late when the median is, twice in a row: one long pause, as of a
 * garbage collection or a machine that slept, says nothing about the next request.
 */
export function watchLoopDelay(
  mostMs: number,
  delays: Delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS }),
): LoopDelay {
  let wasTooLate = false
  delays.enable()
  const timer = setInterval(() => {
    // Node measures the time between two samples, which includes the resolution.
    const median = delays.percentile(50) / 1e6 - RESOLUTION_MS
    delays.reset()
    const tooLate = median > mostMs
    watched.ms = Math.max(0, median)
    watched.isTooLate = tooLate && wasTooLate
    wasTooLate = tooLate
  }, SAMPLE_MS)
  timer.unref()
  const watched = {
    isTooLate: false,
    ms: 0,
    close() {
      clearInterval(timer)
      delays.disable()
    },
  }
  return watched
}
