/** What users of the package import. The only barrel in `src`. */
import { loadConfig, readConfig, type ConfigInput } from './config/load.ts'
import {
  authenticate,
  embed,
  type EmbedOptions,
  type Middleware,
  onBehalfOf,
} from './server/embed.ts'

export type { Config } from './config/config.ts'
export { ConfigError } from './config/faults.ts'
export type { Behalf, HandedToken, Step } from './endpoints/step.ts'
export { GatewayError, type ErrorCode } from './errors.ts'
export { createLog, type Log } from './log.ts'
export { createMetrics, type Metrics } from './metrics.ts'
export { serve, type Serving } from './server/serve.ts'
export {
  authenticate,
  loadConfig,
  onBehalfOf,
  type ConfigInput,
  type EmbedOptions,
  type Middleware,
}

/**
 * The gateway as an Express 5 middleware: `app.use('/api', await gateway('behalf.yaml'))`.
 *
 * @param config a configuration file, or an object of the same shape
 * @throws {ConfigError} with every fault of the configuration
 */
export async function gateway(
  config: string | ConfigInput,
  options?: EmbedOptions,
): Promise<Middleware> {
  const read = typeof config === 'string' ? await loadConfig(config) : readConfig(config)
  return embed(read, options)
}
