import type { Config } from '../config/config.ts'
import { ConfigError } from '../config/faults.ts'

/**
 * For whoever serves by the process that it is called in: workers that are configured would not be there, and their shares of
 * the budgets nobody's.
 *
 * @throws {ConfigError} `server.workers` is more than 1
 */
export function refuseWorkers({ server }: Config): void {
  if (server.workers === 1) return
  const message =
    'is for the command `behalf serve`: a gateway in a process of yours has no workers'
  throw new ConfigError([{ path: 'server.workers', message }])
}
