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
  refuseWorkers(config)
  const { gateway, close, step } = compose(config, { log, metrics, mountPath: mount })

  const middleware = (request: MountedRequest, response: ServerResponse): void =>
    void gateway(request, response)

  // Express finds a mount without regard to case, and tells the path as it was given to applications only: to whatever
  // has `handle` and `set`, as its `mountpath`.
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

/** How to make the steps of a gateway: they share its cache and its budget. */
const steps = new WeakMap<Middleware, Composed['step']>()

/**
 * The first steps alone, for a handler of one's own: the token is authenticated and the route's conditions are judged, and
 * `request.behalf` says whose request it is. Does NOT exchange anything.
 *
 * @param behalf what `gateway()` made, whether or not it is mounted anywhere
 * @param route the name of a route; Express matched the request, so that its `match` and `proxy` say nothing here
 * @throws {TypeError} no route has the name
 */
export function authenticate(behalf: Middleware, route: string): Step {
  return stepOf(behalf, route, 'authenticate')
}

/**
 * All steps but the proxy: `request.behalf.token` is what the subject token was exchanged for, from the same cache and
 * within the same budget as the gateway's own.
 *
 * @param behalf what `gateway()` made, whether or not it is mounted anywhere
 * @param route the name of a route; its `match` and `proxy` say nothing here
 * @throws {TypeError} no route has the name, or its token is none for handlers: bound to a certificate, redeemed, or none
 */
export function onBehalfOf(behalf: Middleware, route: string): Step {
  return stepOf(behalf, route, 'exchange')
}

function stepOf(behalf: Middleware, route: string, step: 'authenticate' | 'exchange'): Step {
  const make = steps.get(behalf)
  if (make === undefined) throw new TypeError('a step needs what gateway() made')
  return make(route, step)
}
