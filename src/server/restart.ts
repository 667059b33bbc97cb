import { isDeepStrictEqual } from 'node:util'
import type { Config, Listen, TlsConfig } from '../config/config.ts'
import { ConfigError } from '../config/faults.ts'
import { isLoopback } from '../config/issuers.ts'

/** A configuration as far as a running process can serve by it. */
export interface Settled {
  readonly config: Config
  /** What of it needs a restart, by name: the process goes on with what it has. */
  readonly needsRestart: readonly string[]
}

export interface SettleOptions {
  /** What the process was started with: its listeners were made by it. */
  readonly first: Config
  /** What it serves by now. */
  readonly running: Config
}

/**
 * An address is had once, and so is what a listener was made with; the bounds of the cache are its own for as long as it
 * lives. A door that is configured no more stays shut, though its address is held; one that is new needs a listener.
 *
 * @throws {ConfigError} a listener was moved to loopback: what may be said there alone, such as `clients: none`, would be said where
 *   others reach it
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
