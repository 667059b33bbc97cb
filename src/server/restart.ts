import { isDeepStrictEqual } from 'node:util'
import type { Config, Listen, TlsConfig } from '../config/config.ts'
import { ConfigError } from '../config/faults.ts'
import { isLoopback } from '../config/issuers.ts'

/** A configuration, reduced to what a running process can serve by. */
export interface Settled {
  readonly config: Config
  /** The names of what needs a restart: there the process goes on with what it has. */
  readonly needsRestart: readonly string[]
}

export interface SettleOptions {
  /** The configuration that the process was started with, and made its listeners by. */
  readonly first: Config
  /** The configuration that it serves by now. */
  readonly running: Config
}

/**
 * Listeners keep their addresses and most of their options, and the cache keeps its bounds, until a restart. A door that is
 * no longer configured is shut, though its address is still taken; a new door needs a listener, and so a restart.
 *
 * @throws {ConfigError} a listener was moved to loopback: options that are allowed there alone, such as `clients: none`,
 *   would hold at the old address, which others reach
 */
export function settled(next: Config, { first, running }: SettleOptions): Settled {
  const needsRestart: string[] = []

  function kept<Value>(name: string, wanted: Value, has: Value): Value {
    if (isDeepStrictEqual(wanted, has)) return wanted
    needsRestart.push(name)
    return has
  }

  function listening<At extends Listening>(name: string, wanted: At, made: At, now: At): At {
    if (isLoopback(wanted.listen.host) && !isLoopback(made.listen.host)) {
      const message = 'is on loopback now, and was not: that needs a restart'
      throw new ConfigError([{ path: `${name}.listen`, message }])
    }
    const listen = kept(`${name}.listen`, wanted.listen, made.listen)
    if (isDeepStrictEqual(shapeOf(wanted.tls), shapeOf(made.tls))) return { ...wanted, listen }
    needsRestart.push(`${name}.tls`)
    return { ...wanted, listen, ...(now.tls && { tls: now.tls }) }
  }

  function door<At extends Listening>(
    name: string,
    wanted: At | undefined,
    made: At | undefined,
    now: At | undefined,
  ): At | undefined {
    if (wanted !== undefined && made !== undefined) {
      return listening(name, wanted, made, now ?? made)
    }
    if (wanted !== made) needsRestart.push(name)
    return undefined
  }

  const { forwardAuth, token } = next.endpoints
  const server = listening('server', next.server, first.server, running.server)
  const workers = kept('server.workers', next.server.workers, first.server.workers)
  const [limits, had] = [next.server.limits, first.server.limits]
  const config: Config = {
    ...next,
    server: {
      ...server,
      workers,
      limits: {
        ...limits,
        connections: kept('server.limits.connections', limits.connections, had.connections),
        pipelined: kept('server.limits.pipelined', limits.pipelined, had.pipelined),
      },
    },
    admin: listening('admin', next.admin, first.admin, running.admin),
    endpoints: {
      forwardAuth: door(
        'endpoints.forwardAuth',
        forwardAuth,
        first.endpoints.forwardAuth,
        running.endpoints.forwardAuth,
      ),
      token: door('endpoints.token', token, first.endpoints.token, running.endpoints.token),
    },
    cache: {
      ...next.cache,
      maxEntries: kept('cache.maxEntries', next.cache.maxEntries, first.cache.maxEntries),
      maxBytes: kept('cache.maxBytes', next.cache.maxBytes, first.cache.maxBytes),
    },
  }
  return { config, needsRestart }
}

interface Listening {
  readonly listen: Listen
  readonly tls?: TlsConfig | undefined
}

/** A listener takes new certificates and TLS versions at any time; everything else needs a restart. */
function shapeOf(tls: TlsConfig | undefined): unknown {
  if (tls === undefined) return undefined
  const { clientCertificates, clientAuthorities, http2 } = tls
  return { clientCertificates, http2, authorized: clientAuthorities !== undefined }
}
