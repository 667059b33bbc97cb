import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Dispatcher } from 'undici'
import type { Route } from '../config/config.ts'
import type { IssuedToken } from '../exchange/issued.ts'
import type { Target } from '../route/target.ts'
import { Answer, type Outcome } from './answer.ts'
import { CallerGone } from './caller.ts'
import { createPeerOf } from './forwarded.ts'
import { requestHead } from './headers.ts'
import { createPools, type Upstream } from './pools.ts'
import { Upload } from './upload.ts'

/** One request on its way through, and where its answer goes. */
export interface Passage {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** What was matched: exactly these bytes are forwarded. */
  readonly target: Target
  /** Told to the upstream and to the caller as `X-Request-Id`. */
  readonly id: string
}

/**
 * Streams the request to the route's upstream with the issued token, and the answer back.
 * `answered`: all of it has left. `token_rejected`: the upstream refused our token, and nothing has been sent to the
 * caller yet.
 *
 * The route's timeout is for silence, before the answer and within it; it may be noticed up to a second late. A caller that
 * is slow, in sending or in reading, is not the upstream's silence.
 *
 * Does NOT retry, follow redirects, decode bodies, or forward upgrades, trailers, interim answers and reason phrases.
 *
 * @throws {GatewayError} `invalid_request` and `expectation_failed` for what cannot be forwarded in one meaning;
 *   `upstream_unavailable` and `upstream_timeout`: where the answer had begun, the caller's connection has been cut
 * @throws {CallerGone} the caller went away first; the upstream's connection has been cut
 */
export type Proxy = (
  passage: Passage,
  route: Route,
  token: IssuedToken,
) => Promise<'answered' | 'token_rejected'>

export interface ProxyOptions {
  /** Addresses and CIDRs of the peers whose `Forwarded` and `X-Forwarded-*` go on. Default none. */
  readonly trustedProxies?: readonly string[]
}

/** What is the same for every request of a route. */
interface Lane {
  readonly upstream: Upstream
  /** The upstream's own path, without a trailing slash. */
  readonly base: string
  readonly timeoutMs: number
  readonly keepCookies: boolean
}

export function createProxy({ trustedProxies = [] }: ProxyOptions = {}): Proxy & {
  close(): Promise<void>
} {
  const pools = createPools()
  const peerOf = createPeerOf(trustedProxies)
  const lanes = new WeakMap<Route, Lane>()

  function laneOf(route: Route): Lane {
    const { upstream, timeoutMs, cookies } = route.proxy
    const { origin, pathname } = new URL(upstream)
    const lane: Lane = {
      upstream: pools.of(origin, timeoutMs),
      base: pathname.replace(/\/+$/, ''),
      timeoutMs,
      keepCookies: cookies === 'keep',
    }
    lanes.set(route, lane)
    return lane
  }

  function proxy(passage: Passage, route: Route, token: IssuedToken): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const { request, response, target, id } = passage
      // A pipelined request's response has no connection yet that could tell.
      const gone = response.socket === null ? request.socket.destroyed : response.destroyed
      if (gone) throw new CallerGone()
      const { upstream, base, timeoutMs, keepCookies } = lanes.get(route) ?? laneOf(route)
      const withToken = token.scheme !== 'none'
      const { headers, hasBody, awaitsContinue } = requestHead(request, {
        peer: peerOf(request.socket),
        keepCookies,
        authorization: withToken ? `${token.scheme} ${token.value}` : undefined,
        id,
      })
      if (hasBody && request.readableDidRead) {
        throw new Error('the request body was read before it could be forwarded')
      }
      const upload = hasBody ? new Upload(request, response, awaitsContinue) : null
      upstream.pool.dispatch(
        {
          path: base + target.path + target.query,
          method: request.method as Dispatcher.HttpMethod,
          headers,
          body: upload,
          headersTimeout: timeoutMs,
          bodyTimeout: timeoutMs,
        },
        new Answer({ request, response, id, upstream, withToken, upload, resolve, reject }),
      )
    })
  }

  return Object.assign(proxy, { close: () => pools.close() })
}
