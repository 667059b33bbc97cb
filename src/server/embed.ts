import type { ServerResponse } from 'node:http'
import type { Config } from '../config/config.ts'
import type { Step } from '../endpoints/step.ts'
import type { MountedRequest } from '../gateway.ts'
import { createLog, type Log } from '../log.ts'
import { createMetrics, type Metrics } from '../metrics.ts'
import { refuseWorkers } from './alone.ts'
import { compose, type Composed } from './compose.ts'
import { type Upgrade, upgrading } from './upgrade.ts'

export interface EmbedOptions {
  /** Default: JSON lines on standard output. */
  readonly log?: Log
  /** Default: metrics that nothing exports. */
  readonly metrics?: Metrics
  /**
   * The literal path that the gateway is mounted below. Needed only where a Router mounts it: an Express application tells
   * the gateway itself.
   */
  readonly mountPath?: string
}

/** An Express middleware that answers every request that reaches it. */
export interface Middleware {
  (request: MountedRequest, response: ServerResponse): void
  /** Takes WebSockets, which Express never sees: `server.on('upgrade', middleware.upgrade)`. Answers every such request. */
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
  refuseWorkers(config)
  const { gateway, close, step } = compose(config, { log, metrics, mountPath: mount })

  const middleware = (request: MountedRequest, response: ServerResponse): void =>
    void gateway(request, response)

  // Express compares mount paths without case. Only to an application does it give the path as it was configured: it sets
  // the `mountpath` of whatever has `handle` and `set`.
  const upgrade = upgrading(gateway, mount)
  const embedded = Object.defineProperties(Object.assign(middleware, { upgrade, close }), {
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
  steps.set(embedded, step)
  return embedded
}

/** Makes the steps of a gateway, which share its cache and its budget. */
const steps = new WeakMap<Middleware, Composed['step']>()

/**
 * The first steps alone, before an application's own handler: authenticates the token, judges the route's conditions, and
 * sets `request.behalf`, which says whose request it is. Does NOT exchange anything.
 *
 * @param behalf what `gateway()` made, whether or not it is mounted anywhere
 * @param route the name of a route; Express matched the request, so that its `match` and `proxy` say nothing here
 * @throws {TypeError} no route has the name
 */
export function authenticate(behalf: Middleware, route: string): Step {
  return stepOf(behalf, route, 'authenticate')
}

/**
 * All steps but the proxy: `request.behalf.token` is the issued token, from the same cache and within the same budget as the
 * gateway's own.
 *
 * @param behalf what `gateway()` made, whether or not it is mounted anywhere
 * @param route the name of a route; its `match` and `proxy` say nothing here
 * @throws {TypeError} no route has the name, or handlers cannot use its token: it is bound to a certificate, comes of a
 *   refresh token, or there is none
 */
export function onBehalfOf(behalf: Middleware, route: string): Step {
  return stepOf(behalf, route, 'exchange')
}

function stepOf(behalf: Middleware, route: string, step: 'authenticate' | 'exchange'): Step {
  const make = steps.get(behalf)
  if (make === undefined) throw new TypeError('a step needs what gateway() made')
  return make(route, step)
}
