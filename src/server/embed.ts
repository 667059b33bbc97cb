import type { ServerResponse } from 'node:http'
import type { Config } from '../config/config.ts'
import type { MountedRequest } from '../gateway.ts'
import { createLog, type Log } from '../log.ts'
import { createMetrics, type Metrics } from '../metrics.ts'
import { compose } from './compose.ts'
import { type Upgrade, upgrading } from './upgrade.ts'

export interface EmbedOptions {
  /** Default: JSON lines on standard output. */
  readonly log?: Log
  /** Default: none that anyone can read. */
  readonly metrics?: Metrics
  /**
   * The literal path that the gateway is mounted below. Needed only where a Router mounts it: an application tells it
   * by itself.
   */
  readonly mountPath?: string
}

/** An Express middleware that answers every request that reaches it. */
export interface Middleware {
  (request: MountedRequest, response: ServerResponse): void
  /** Takes WebSockets, which Express never sees: `server.on('upgrade', middleware.upgrade)`. It answers whatever it is given. */
  readonly upgrade: Upgrade
  close(): Promise<void>
}

/**
 * The gateway as a middleware for an Express application, on the same path as `behalf serve`. It reads the request's
 * body itself, so no body parser may stand before it.
 */
export function embed(config: Config, options: EmbedOptions = {}): Middleware {
  const { log = createLog(), metrics = createMetrics(), mountPath } = options
  let mounted = mountPath
  const mount = (): string => mounted ?? ''
  const { gateway, close } = compose(config, { log, metrics, mountPath: mount })

  const middleware = (request: MountedRequest, response: ServerResponse): void =>
    void gateway(request, response)

  // Express finds a mount without regard to case, and tells the path as it was given to applications only: to whatever
  // has `handle` and `set`, as its `mountpath`.
  const upgrade = upgrading(gateway, mount)
  return Object.defineProperties(Object.assign(middleware, { upgrade, close }), {
    handle: { value: middleware },
    set: { value: () => undefined },
    emit: { value: () => true },
    mountpath: {
      set(path: unknown) {
        if (typeof path !== 'string' || /[:*{}()[\]?+!\\]/.test(path)) {
          throw new TypeError('the gateway must be mounted below one literal path')
        }
        mounted ??= path.replace(/\/+$/, '')
      },
    },
  })
}
