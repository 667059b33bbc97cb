import type { Config } from '../config/config.ts'
import type { Metrics } from '../metrics.ts'
import { createAdmin } from './admin.ts'
import { refuseWorkers } from './alone.ts'
import { createDoors, type DoorsOptions, listen, originOf, type Origins } from './doors.ts'
import { cut } from './drain.ts'
import { createServer } from './listener.ts'
import type { Reload } from './reload.ts'

/** A running gateway. */
export interface Serving extends Origins {
  readonly adminOrigin: string
  readonly metrics: Metrics
  /** Reads the configuration again. */
  readonly reload: Reload
  /** Ends it without losing requests: readiness first, then idle connections, then requests in flight, as configured. */
  drain(): Promise<void>
  /** Ends it at once. */
  close(): Promise<void>
}

/** Starts all listeners. Rejects when one of them cannot be opened. */
export async function serve(config: Config, options: DoorsOptions): Promise<Serving> {
  refuseWorkers(config)
  const { log } = options
  const doors = createDoors(config, options)
  const admin = createServer(createAdmin(doors), { tls: config.admin.tls })
  doors.certificates.follow('admin', admin, config)
  async function close(): Promise<void> {
    cut(admin)
    await doors.close()
  }
  try {
    const origins = await doors.open()
    await listen(admin, config.admin.listen)
    const adminOrigin = originOf(admin)
    log.logger.info(
      {
        origin: origins.origin,
        forward_auth: origins.forwardAuthOrigin,
        token: origins.tokenOrigin,
        admin: adminOrigin,
      },
      'listening',
    )
    return {
      ...origins,
      adminOrigin,
      metrics: doors.metrics,
      reload: doors.reload,
      async drain() {
        await doors.drain()
        await close()
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
