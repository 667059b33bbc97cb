import type http from 'node:http'
import { setImmediate as polled, setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../log.ts'
import type { Door } from './listener.ts'

export interface DrainOptions {
  /** How long requests are still accepted, in milliseconds, so that balancers notice. */
  readonly delayMs: number
  /** How long requests in flight may take after that, in milliseconds. */
  readonly timeoutMs: number
  /** Ends what would not end by itself: WebSockets. */
  readonly leave: () => Promise<void>
  readonly logger: Logger
  /** Ends the drain itself: everything is cut anyway. */
  readonly signal: AbortSignal
}

/** How often connections are looked for that have become idle, in milliseconds. */
const SWEEP_EVERY_MS = 100
/** How long one that has never said anything is waited for, in milliseconds: it may have been opened to ask at once. */
const SILENT_MS = 1_000

/**
 * Ends doors without losing a request: each answer ends its connection; after the delay nobody new is let in; what is in
 * flight is finished. Connections that said nothing for all of the delay are closed at its end: HTTP/1.1 cannot tell them
 * before. What is left when the time is up is for the caller of this to cut.
 *
 * @returns whether all of them have ended
 */
export async function drain(doors: readonly Door[], options: DrainOptions): Promise<boolean> {
  const { delayMs, timeoutMs, leave, logger, signal } = options
  logger.info({ delay_ms: delayMs, timeout_ms: timeoutMs }, 'draining')
  for (const door of doors) door.endConnections()
  await sleep(delayMs, undefined, { signal }).catch(() => undefined)
  if (signal.aborted) return false
  // The system cuts off connections that wait in the listener's queue when it closes; right after a poll there are fewest.
  await polled()
  const ended = doors.map(finished)
  logger.info('accepting no more connections')
  // Those whose ends do not answer hold us no longer than all the rest.
  void leave()
  const isOver = Promise.all(ended).then(() => true)
  const isLate = sleep(timeoutMs, false, { ref: false })
  const inTime = await Promise.race([isOver, isLate])
  if (!inTime && !signal.aborted)
    logger.warn({ after_ms: timeoutMs }, 'what is still in flight is cut off')
  return inTime
}

/** Resolves when the last connection has ended. Node closes those that are idle only when it is asked to. */
async function finished(door: Door): Promise<void> {
  const closed = new Promise<void>((resolve) => door.once('close', resolve))
  door.close()
  const sweep = setInterval(() => door.closeIdleConnections(), SWEEP_EVERY_MS)
  const silence = setTimeout(() => door.closeSilentConnections(), SILENT_MS)
  await closed
  clearInterval(sweep)
  clearTimeout(silence)
}

/** Closes a server and whatever is connected to it, at once. */
export function cut(server: http.Server): void {
  server.close()
  server.closeAllConnections()
}
