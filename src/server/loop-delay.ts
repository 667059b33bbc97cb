import { monitorEventLoopDelay } from 'node:perf_hooks'

/** How late this process does what it has to do. */
export interface LoopDelay {
  /** Whether that is too late for more. Costs a property. */
  readonly isTooLate: boolean
  /** As it was last looked at. */
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
 * One long pause, of a collection or of a machine that slept, says nothing about the next request: the median must be too
 * late, twice in a row.
 */
export function watchLoopDelay(
  mostMs: number,
  delays: Delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS }),
): LoopDelay {
  let wasTooLate = false
  delays.enable()
  const timer = setInterval(() => {
    // What is measured is the time from one look to the next.
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
