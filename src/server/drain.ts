import type http from 'node:http'
import { setImmediate as polled, setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../log.ts'
import type { Door } from './listener.ts'

export interface DrainOptions {
  /** How long requests are still accepted, in milliseconds, so that balancers notice. */
  readonly delayMs: number
  /** How long requests in flight may take after that, in milliseconds. */
  readonly timeoutMs: number
  /** Closes WebSockets, which would not end by themselves. */
  readonly leave: () => Promise<void>
  readonly logger: Logger
  /** Aborts the drain, because everything is cut anyway. */
  readonly signal: AbortSignal
}

/** How often connections that have become idle are closed, in milliseconds. */
const SWEEP_EVERY_MS = 100
/** How long a connection without any bytes yet is waited for, in milliseconds: its first request may be on its way. */
const SILENT_MS = 1_000

/**
 * Ends doors without losing a request. From now on each answer ends its connection; after the delay no new connection is
 * accepted; requests in flight are finished. Connections that were idle for all of the delay are closed at its end, because
 * HTTP/1.1 cannot tell their clients earlier. What is left when the time is up is for the calling code to cut.
 *
 * @returns whether all of them have ended
 */
export async function drain(doors: readonly Door[], options: DrainOptions): Promise<boolean> {
  const { delayMs, timeoutMs, leave, logger, signal } = options
  logger.info({ delay_ms: delayMs, timeout_ms: timeoutMs }, 'draining')
  for (const door of doors) door.endConnections()
  await sleep(delayMs, undefined, { signal }).catch(() => undefined)
  if (signal.aborted) return false
  // Closing the listener cuts off connections that wait in its queue. Right after a poll there are fewest.
  await polled()
  const ended = doors.map(finished)
  logger.info('accepting no more connections')
  // Not awaited: a WebSocket whose side does not answer delays the drain no longer than requests do.
  void leave()
  const isOver = Promise.all(ended).then(() => true)
  const isLate = sleep(timeoutMs, false, { ref: false })
  const inTime = await Promise.race([isOver, isLate])
  if (!inTime && !signal.aborted)
    logger.warn({ after_ms: timeoutMs }, 'what is still in flight is cut off')
  return inTime
}

/** Resolves when the last connection has ended. Node closes connections that become idle only when it is asked to. */
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
