import { buildConnector, Pool } from 'undici'
import type { Identity } from '../outbound.ts'

/** The connections to one upstream. */
export interface Upstream {
  readonly pool: Pool
  /**
   * True while a connection's error is being handled, and only then. undici takes a reset for the end of an answer
   * that ends with its connection; whoever is told of an end in this moment knows better.
   */
  breaking: boolean
  /** What it gave last to be named in the next proof (RFC 9449, section 8.2). */
  dpopNonce: string | undefined
}

/** A certificate that connections show, and by what it is told from others. */
export interface ShownIdentity extends Identity {
  readonly thumbprint: string
}

export interface Pools {
  /**
   * `timeoutMs` bounds the wait for a connection where it is shorter than two seconds. What one identity was shown on is
   * never used for another, nor for none.
   */
  of(origin: string, timeoutMs: number, identity?: ShownIdentity): Upstream
  /** Waits for the requests in flight. */
  close(): Promise<void>
}

const CONNECT_TIMEOUT_MS = 2_000

export interface PoolsOptions {
  /** Certificates (PEM) that upstreams are trusted by, instead of those that Node brings. */
  readonly authorities?: string | undefined
}

export function createPools({ authorities }: PoolsOptions = {}): Pools {
  const upstreams = new Map<string, Upstream>()
  const shown = new Map<string, Shown>()

  function showing(key: string, identity: ShownIdentity, make: () => Upstream): Upstream {
    const now = Date.now()
    const known = shown.get(`${key} ${identity.thumbprint}`)
    if (known !== undefined) {
      known.usedAt = now
      return known.upstream
    }
    for (const [name, { upstream, usedAt }] of shown) {
      if (now - usedAt <= REPLACED_AFTER_MS) continue
      shown.delete(name)
      upstream.pool.close().catch(() => undefined)
    }
    const upstream = make()
    shown.set(`${key} ${identity.thumbprint}`, { upstream, usedAt: now })
    return upstream
  }

  return {
    of(origin, timeoutMs, identity) {
      const connectTimeoutMs = Math.min(CONNECT_TIMEOUT_MS, timeoutMs)
      const key = `${origin} ${connectTimeoutMs}`
      const make = (): Upstream =>
        createUpstream(origin, {
          timeout: connectTimeoutMs,
          ...(authorities !== undefined && { ca: authorities }),
          ...(identity && { cert: identity.certificate, key: identity.key }),
        })
      if (identity !== undefined) return showing(key, identity, make)
      const known = upstreams.get(key)
      if (known !== undefined) return known
      const upstream = make()
      upstreams.set(key, upstream)
      return upstream
    },
    async close() {
      const all = [...upstreams.values(), ...Array.from(shown.values(), (one) => one.upstream)]
      await Promise.all(all.map(({ pool }) => pool.close()))
    },
  }
}

/** The connections that show one certificate. When it has been replaced nothing more is sent over them. */
interface Shown {
  readonly upstream: Upstream
  /** In epoch milliseconds. */
  usedAt: number
}

const REPLACED_AFTER_MS = 600_000

function createUpstream(origin: string, options: buildConnector.BuildOptions): Upstream {
  const connect = buildConnector({ ...options, allowH2: false })
  const upstream: Upstream = {
    breaking: false,
    dpopNonce: undefined,
    pool: new Pool(origin, {
      pipelining: 1,
      // A request that waits for a free connection has no timeout in undici, so nothing may ever wait for one.
      connections: null,
      connect(options, callback) {
        connect(options, (...[error, socket]) => {
          if (error !== null) {
            callback(error, null)
            return
          }
          // undici adds its own listeners in the callback: these two stand around them.
          socket.on('error', () => (upstream.breaking = true))
          callback(null, socket)
          socket.on('error', () => (upstream.breaking = false))
        })
      },
    }),
  }
  return upstream
}
