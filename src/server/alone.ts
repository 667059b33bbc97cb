import type { Config } from '../config/config.ts'
import { ConfigError } from '../config/faults.ts'

/**
 * Refuses workers where the calling process serves alone: they would not be started, and their shares of the budgets would
 * be lost.
 *
 * @throws {ConfigError} `server.workers` is more than 1
 */
export function refuseWorkers({ server }: Config): void {
  if (server.workers === 1) return
  const message =
    'is for the command `behalf serve`: a gateway in a process of yours has no workers'
  throw new ConfigError([{ path: 'server.workers', message }])
}
