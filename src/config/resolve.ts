import { availableParallelism } from 'node:os'
import type { z } from 'zod'
import { resolveApis } from './apis.ts'
import { refuseUnusedBindings } from './bindings.ts'
import { resolveCache } from './cache.ts'
import type { AdminConfig, Config, Listen } from './config.ts'
import { refuseRepeatedListeners, resolveEndpoints } from './endpoints.ts'
import type { Faults } from './faults.ts'
import {
  isLoopback,
  refuseUnusedIntrospection,
  refuseUnusedStaleFor,
  resolveIssuers,
} from './issuers.ts'
import { many, mapping, part, present } from './parts.ts'
import { checkPossession } from './possession.ts'
import { checkProvision } from './provision.ts'
import { checkPublishedSecrets } from './published.ts'
import { checkResources } from './resources.ts'
import { resolveRoutes } from './routes.ts'
import { configurationSchema } from './schema.ts'
import { resolveTls } from './tls.ts'

/**
 * Checks how values go together, and makes the configuration. A part that has faults of its own is left out of these checks,
 * so that the faults of other parts are still found.
 *
 * @param folder where relative paths start
 * @throws {ConfigError}
 */
export function resolve(raw: unknown, faults: Faults, folder: string): Config {
  const root = mapping(raw)
  const { server, admin, cache, endpoints, provision } = configurationSchema.shape
  const listeners = {
    server: several(part(server, root['server'])),
    admin: part(admin, root['admin']),
  }
  const doors = part(endpoints, root['endpoints'])
  checkListeners(listeners, faults)
  refuseRepeatedListeners(
    [
      { at: ['server', 'listen'], listen: listeners.server?.listen },
      { at: ['admin', 'listen'], listen: listeners.admin?.listen },
      { at: ['endpoints', 'forwardAuth', 'listen'], listen: doors?.forwardAuth?.listen },
      { at: ['endpoints', 'token', 'listen'], listen: doors?.token?.listen },
    ],
    faults,
  )
  const issuers = resolveIssuers(mapping(root['issuers']), faults)
  const apis = resolveApis(mapping(root['apis']), issuers, { faults, folder })
  // A faulty API may use any of these: while there is one, nothing is reported as unused.
  if (!faults.within(['apis'])) {
    refuseUnusedStaleFor(mapping(root['issuers']), present(apis), faults)
    refuseUnusedIntrospection(present(issuers), present(apis), faults)
  }
  const routes = resolveRoutes(root['routes'], apis, { faults, folder })
  // A faulty route may use any of these: while there is one, nothing is reported as unused.
  if (!faults.within(['routes'])) refuseUnusedBindings(present(apis), routes, faults)
  const publicOrigins = listeners.server && many(listeners.server.publicOrigin)
  checkResources({ apis: mapping(root['apis']), routes: root['routes'], publicOrigins }, faults)
  const shares = mapping(root['cache'])['redis'] !== undefined
  checkPossession({ apis: mapping(root['apis']), server: listeners.server, shares }, faults)
  const doorsAt = [listeners.server?.listen, doors?.forwardAuth?.listen, doors?.token?.listen]
  checkPublishedSecrets(
    { apis: mapping(root['apis']), issuers: mapping(root['issuers']), listeners: doorsAt },
    faults,
  )
  const tlsAt = (...at: readonly string[]) => ({ at, faults, folder })
  const { server: { tls: serverTls } = {}, admin: { tls: adminTls } = {} } = listeners
  const tls = {
    server: serverTls && resolveTls(serverTls, tlsAt('server', 'tls')),
    admin: adminTls && resolveTls(adminTls, tlsAt('admin', 'tls')),
    forwardAuth:
      doors?.forwardAuth?.tls &&
      resolveTls(doors.forwardAuth.tls, tlsAt('endpoints', 'forwardAuth', 'tls')),
    token: doors?.token?.tls && resolveTls(doors.token.tls, tlsAt('endpoints', 'token', 'tls')),
  }
  // The endpoints list routes by name: while a route has faults of its own, they are not judged.
  const settled = doors && !faults.within(['routes']) ? doors : undefined
  const resolvedDoors =
    settled &&
    resolveEndpoints(settled, tls, {
      routes,
      faults,
      folder,
      server: listeners.server,
      shares,
    })
  const cacheInput = part(cache, root['cache'])
  const goodRoutes = faults.within(['routes']) ? undefined : routes
  const caching = cacheInput && resolveCache(cacheInput, goodRoutes, { faults, folder })
  const provisioned = part(provision, root['provision'])
  if (provisioned) checkProvision(provisioned, mapping(root['apis']), faults)
  faults.throwIfAny()
  const { trustedProxies, replicas, workers, drain, listen, limits } = listeners.server!
  return {
    server: {
      listen,
      publicOrigins: publicOrigins!,
      trustedProxies,
      replicas,
      workers,
      drain: { delayMs: drain.delay, timeoutMs: drain.timeout },
      limits: {
        connections: limits.connections,
        inFlight: limits.inFlight,
        pipelined: limits.pipelined,
        loopDelayMs: limits.loopDelay,
      },
      tls: tls.server,
    },
    admin: {
      listen: listeners.admin!.listen,
      token: listeners.admin!.token,
      allowedHosts: listeners.admin!.allowedHosts,
      ...(tls.admin && { tls: tls.admin }),
    },
    issuers: present(issuers),
    apis: present(apis),
    routes,
    endpoints: resolvedDoors!,
    cache: caching!,
    provision: provisioned!,
  }
}

type ServerInput = z.output<typeof configurationSchema>['server']

function several(server: ServerInput | undefined) {
  if (server === undefined) return undefined
  const workers = server.workers === 'auto' ? availableParallelism() : Number(server.workers)
  return { ...server, workers }
}

interface Listeners {
  readonly server: { readonly listen: Listen } | undefined
  readonly admin:
    AdminConfig | { readonly listen: Listen; readonly token?: string | undefined } | undefined
}

function checkListeners({ admin }: Listeners, faults: Faults): void {
  if (admin === undefined) return
  if (!isLoopback(admin.listen.host) && admin.token === undefined && !faults.within(['admin'])) {
    faults.add(['admin', 'listen'], 'is beyond loopback: it needs `admin.token`')
  }
}
