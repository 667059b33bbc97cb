import { buildConnector } from 'undici'
import type { Identity } from '../outbound.ts'
import { Http1Connections } from './http1-connections.ts'
import { Http2Connections, type Sender } from './http2-connections.ts'

/** The connections to one upstream. */
export interface Upstream {
  readonly pool: Sender
  /** Whether it speaks HTTP/2, whose answers may have trailers. */
  readonly http2: boolean
  /**
   * True while a connection's error is being handled, and only then. undici takes a reset for the end of an answer that ends
   * with its connection: an answer that ends while this is true was cut off.
   */
  breaking: boolean
  /** The errors that ended connections which had answered before: a request that waited may be sent on another one. */
  readonly ends: WeakSet<Error>
  /** The nonce that it gave last, for the next proof (RFC 9449, section 8.2). */
  dpopNonce: string | undefined
}

/** A client certificate that connections show, and the thumbprint that identifies it. */
export interface ShownIdentity extends Identity {
  readonly thumbprint: string
}

export interface PoolOptions {
  readonly origin: string
  /** The path of a unix socket, in place of the origin's host and port. */
  readonly socketPath: string | undefined
  readonly connectTimeoutMs: number
  /** CA certificates (PEM) that the upstream's certificate is verified against. Undefined: the proxy's. */
  readonly authorities: string | undefined
  /** Whether the gateway speaks HTTP/2 to it, and nothing else. */
  readonly http2: boolean
}

export interface Pools {
  /** A connection that was opened with one client identity, or one set of authorities, is never used for another or for none. */
  of(options: PoolOptions, identity?: ShownIdentity): Upstream
  /** Waits for the requests in flight. */
  close(): Promise<void>
}

/** The age after which a connection takes no more requests: the next one resolves the host anew, which may have moved. */
const LONGEST_USE_MS = 60_000

export interface PoolsOptions {
  /** CA certificates (PEM) that upstreams' certificates are verified against, instead of Node's own. */
  readonly authorities?: string | undefined
  /** Keeps connections for other pools that want the same, and ends them. Default: they end with these pools. */
  readonly keep?: Keep | undefined
}

/** Finds the upstream of a name, which it makes once, and calls `end` when nobody uses it any more. */
export type Keep = (
  name: string,
  make: () => Upstream,
  end: (upstream: Upstream) => Promise<unknown>,
) => Upstream

export function createPools({ authorities, keep }: PoolsOptions = {}): Pools {
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
    of(options, identity) {
      const { origin, socketPath, connectTimeoutMs, authorities: own, http2 } = options
      const trusted = own ?? authorities
      const key = [origin, socketPath, connectTimeoutMs, http2, trusted].join(' ')
      const make = (): Upstream =>
        (http2 ? createHttp2Upstream : createUpstream)(origin, {
          timeout: connectTimeoutMs,
          minVersion: 'TLSv1.2',
          ...(socketPath !== undefined && { socketPath }),
          ...(trusted !== undefined && { ca: trusted }),
          ...(identity && { cert: identity.certificate, key: identity.key }),
        })
      if (identity !== undefined) return showing(key, identity, make)
      const known = upstreams.get(key)
      if (known !== undefined) return known
      const upstream = keep?.(key, make, ({ pool }) => pool.close()) ?? make()
      upstreams.set(key, upstream)
      return upstream
    },
    async close() {
      const own = keep === undefined ? [...upstreams.values()] : []
      const all = [...own, ...Array.from(shown.values(), (one) => one.upstream)]
      await Promise.all(all.map(({ pool }) => pool.close()))
    },
  }
}

/** The connections that show one certificate. Once it has been replaced they stay unused, and are closed. */
interface Shown {
  readonly upstream: Upstream
  /** In epoch milliseconds. */
  usedAt: number
}

const REPLACED_AFTER_MS = 600_000

function createUpstream(origin: string, options: buildConnector.BuildOptions): Upstream {
  const connect = buildConnector({ ...options, allowH2: false })
  const upstream: Upstream = {
    http2: false,
    breaking: false,
    ends: new WeakSet(),
    dpopNonce: undefined,
    pool: new Http1Connections(origin, {
      longestUseMs: LONGEST_USE_MS,
      connect(options, callback) {
        connect(options, (...[error, socket]) => {
          if (error !== null) {
            callback(error, null)
            return
          }
          // undici adds its own listeners in the callback: of these two, one runs before them and one after.
          const atFirst = socket.bytesRead
          socket.on('error', (error) => {
            upstream.breaking = true
            if (socket.bytesRead > atFirst) upstream.ends.add(error)
          })
          callback(null, socket)
          socket.on('error', () => (upstream.breaking = false))
        })
      },
    }),
  }
  return upstream
}

function createHttp2Upstream(origin: string, options: buildConnector.BuildOptions): Upstream {
  const connect = buildConnector({ ...options, allowH2: true })
  const ends = new WeakSet<Error>()
  const pool = new Http2Connections(origin, {
    ...{ connect, ends, longestUseMs: LONGEST_USE_MS },
    timeoutMs: options.timeout ?? 0,
  })
  return { pool, http2: true, breaking: false, ends, dpopNonce: undefined }
}
