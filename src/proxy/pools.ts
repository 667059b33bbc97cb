import { buildConnector, Pool } from 'undici'

/** The connections to one upstream. */
export interface Upstream {
  readonly pool: Pool
  /**
   * True while a connection's error is being handled, and only then. undici takes a reset for the end of an answer
   * that ends with its connection; whoever is told of an end in this moment knows better.
   */
  breaking: boolean
}

export interface Pools {
  /** `timeoutMs` bounds the wait for a connection where it is shorter than two seconds. */
  of(origin: string, timeoutMs: number): Upstream
  /** Waits for the requests in flight. */
  close(): Promise<void>
}

const CONNECT_TIMEOUT_MS = 2_000

export function createPools(): Pools {
  const upstreams = new Map<string, Upstream>()
  return {
    of(origin, timeoutMs) {
      const connectTimeoutMs = Math.min(CONNECT_TIMEOUT_MS, timeoutMs)
      const key = `${origin} ${connectTimeoutMs}`
      const known = upstreams.get(key)
      if (known !== undefined) return known
      const upstream = createUpstream(origin, connectTimeoutMs)
      upstreams.set(key, upstream)
      return upstream
    },
    async close() {
      await Promise.all(Array.from(upstreams.values(), ({ pool }) => pool.close()))
    },
  }
}

function createUpstream(origin: string, connectTimeoutMs: number): Upstream {
  const connect = buildConnector({ timeout: connectTimeoutMs, allowH2: false })
  const upstream: Upstream = {
    breaking: false,
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
