import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Dispatcher } from 'undici'
import type { Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { IssuedToken } from '../exchange/issued.ts'
import type { Target } from '../route/target.ts'
import { Answer, type Outcome, type Sent } from './answer.ts'
import { CallerGone } from './caller.ts'
import { createPeerOf } from './forwarded.ts'
import { requestHead } from './headers.ts'
import { createLanes } from './lanes.ts'
import { createPools } from './pools.ts'
import { Upload } from './upload.ts'

/** One request on its way through, and where its answer goes. */
export interface Passage {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** What was matched: exactly these bytes are forwarded. */
  readonly target: Target
  /** Told to the upstream and to the caller as `X-Request-Id`. */
  readonly id: string
  /** What the upstream asks the user for with `token_rejected`: for who cannot give it another token. */
  challenge?: GatewayError | undefined
}

/**
 * Streams the request to the route's upstream with the issued token, and the answer back.
 * `answered`: all of it has left. `token_rejected`: the upstream refused our token, and nothing has been sent to the
 * caller yet.
 *
 * The route's timeout is for silence, before the answer and within it; it may be noticed up to a second late. A caller that
 * is slow, in sending or in reading, is not the upstream's silence.
 *
 * A token that is bound to a key goes with a proof for this request (RFC 9449, section 7.1). An upstream that wants its own
 * nonce in it is asked once more, where there was no body: it has not looked at the request yet (section 9).
 *
 * Otherwise does NOT retry, follow redirects, decode bodies, or forward upgrades, trailers, interim answers and reason phrases.
 *
 * @throws {GatewayError} `invalid_request` and `expectation_failed` for what cannot be forwarded in one meaning;
 *   `upstream_rejected_token` where it wants another nonce and the request is gone; `upstream_unavailable` and
 *   `upstream_timeout`: where the answer had begun, the caller's connection has been cut
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
  /** Certificates (PEM) that upstreams are trusted by, instead of those that Node brings. */
  readonly authorities?: string
}

export function createProxy(options: ProxyOptions = {}): Proxy & { close(): Promise<void> } {
  const { trustedProxies = [], authorities } = options
  const pools = createPools({ authorities })
  const peerOf = createPeerOf(trustedProxies)
  const laneOf = createLanes(pools)

  function send(passage: Passage, route: Route, token: IssuedToken): Promise<Sent> {
    return new Promise((resolve, reject) => {
      const { request, response, target, id } = passage
      // A pipelined request's response has no connection yet that could tell.
      const gone = response.socket === null ? request.socket.destroyed : response.destroyed
      if (gone) throw new CallerGone()
      const { upstream, origin, base, timeoutMs, keepCookies } = laneOf(route, token)
      const withToken = token.scheme !== 'none'
      const { headers, hasBody, awaitsContinue } = requestHead(request, {
        peer: peerOf(request.socket),
        keepCookies,
        authorization: withToken ? `${token.scheme} ${token.value}` : undefined,
        proof: token.prove?.(request.method ?? '', origin + base + target.path, upstream.dpopNonce),
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
        new Answer({
          request,
          response,
          id,
          upstream,
          withToken,
          passage,
          withProof: token.prove !== undefined,
          upload,
          resolve,
          reject,
        }),
      )
    })
  }

  return Object.assign(proven(send), { close: () => pools.close() })
}

type Send = (passage: Passage, route: Route, token: IssuedToken) => Promise<Sent>

/** Asks once more with the nonce that an upstream wants. What has no proof passes as it is. */
function proven(send: Send): Proxy {
  async function sendProven(...[passage, route, token]: Parameters<Send>): Promise<Outcome> {
    const first = await send(passage, route, token)
    if (first !== 'nonce_wanted') return first
    const second = isBodiless(passage.request) ? await send(passage, route, token) : first
    if (second !== 'nonce_wanted') return second
    // Nothing is wrong with the token: another one would meet the same.
    throw new GatewayError('upstream_rejected_token', 'the upstream wants a proof with its nonce', {
      retryAfter: 1,
    })
  }
  return (passage, route, token) =>
    token.prove === undefined
      ? (send(passage, route, token) as Promise<Outcome>)
      : sendProven(passage, route, token)
}

function isBodiless({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] === undefined && !(Number(headers['content-length'] ?? 0) > 0)
}
