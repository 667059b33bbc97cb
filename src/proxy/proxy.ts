import type { IncomingMessage } from 'node:http'
import type { Route } from '../config/config.ts'
import { GatewayError } from '../errors.ts'
import type { IssuedToken } from '../exchange/issued.ts'
import type { Outcome, Sent } from './answer.ts'
import { createAttempt } from './attempt.ts'
import { CallerGone } from './caller.ts'
import { createPeerOf } from './forwarded.ts'
import { createLanes, type Paused, type Place } from './lanes.ts'
import type { Passage } from './passage.ts'
import { createPools, type Keep } from './pools.ts'
import { received } from './received.ts'
import { createTunnels } from './tunnels.ts'

/**
 * Streams the request to the route's upstream with the issued token, and the answer back to the caller.
 * `answered`: the whole answer has left. `token_rejected`: the upstream refused our token, and nothing has been sent to the
 * caller yet.
 *
 * The route's timeout limits how long the upstream may be silent, before its answer and within it; it may fire up to a second
 * late. The time in which a slow caller sends or reads does not count.
 *
 * A token that is bound to a key goes with a proof for this request (RFC 9449, section 7.1). An upstream that wants its own
 * nonce in the proof has not processed the request (section 9): a request without a body is sent once more with that nonce.
 *
 * A request that no upstream has answered is sent again as the route's `retries` say. An upstream that could not be reached,
 * or cannot serve for now, is passed over where the route has others.
 *
 * The handshake of a WebSocket (RFC 6455) is forwarded, and the WebSocket is open when the upstream has accepted it;
 * `answered` then comes when both connections have ended. Where the route says so the gateway closes it when a token
 * expires, though never within a frame of either side.
 *
 * Trailers of an answer (RFC 9110, section 6.5) are forwarded to callers that accept them; those of a request are dropped.
 *
 * Does NOT follow redirects, decode bodies, look into a WebSocket's messages, or forward other upgrades, interim answers and
 * reason phrases.
 *
 * @throws {GatewayError} `invalid_request` for a request that servers could read differently; `expectation_failed`;
 *   `upstream_rejected_token` where the upstream wants another nonce and the request cannot be sent again;
 *   `upstream_unavailable` and `upstream_timeout`: where the answer had begun, the caller's connection has been cut
 * @throws {CallerGone} the caller went away first; the upstream's connection has been cut
 */
export type Proxy = (
  passage: Passage,
  route: Route,
  token: IssuedToken,
) => Promise<'answered' | 'token_rejected'>

export interface ProxyOptions {
  /** Addresses and CIDRs of the peers whose `Forwarded` and `X-Forwarded-*` are forwarded. Default none. */
  readonly trustedProxies?: readonly string[]
  /** CA certificates (PEM) that upstreams' certificates are verified against, instead of Node's own. */
  readonly authorities?: string
  /** Headers that callers send to the gateway alone, in lower case: they are not forwarded. Default none. */
  readonly ownedHeaders?: ReadonlySet<string> | undefined
  /** Keeps the connections to upstreams open for the proxy of the next configuration. */
  readonly keep?: Keep | undefined
  /** Called for each upstream that begins to pause. */
  readonly paused?: Paused
}

/** What the server does with a proxy, beside sending requests through it. */
export interface ProxyControls {
  /** How many WebSockets are open. */
  webSockets(): number
  /** How many upstreams of a route are passed over now. */
  paused(route: Route): number
  /** Closes all WebSockets by a close frame, also those that open later: they would not end by themselves. */
  leave(): Promise<void>
  /** Waits for the requests in flight. */
  close(): Promise<void>
}

export function createProxy(options: ProxyOptions = {}): Proxy & ProxyControls {
  const { trustedProxies = [], authorities, ownedHeaders, keep, paused } = options
  const pools = createPools({ authorities, keep })
  const peerOf = createPeerOf(trustedProxies)
  const tunnels = createTunnels()
  const attempt = createAttempt({ pools, tunnels, peerOf, ownedHeaders })
  const laneOf = createLanes(pools, paused)

  function send(
    passage: Passage,
    route: Route,
    token: IssuedToken,
    chosen: Chosen = {},
  ): Promise<Sent> {
    return new Promise((resolve, reject) => {
      const { request, response, head = received(request, route) } = passage
      // The response of a pipelined request has no socket yet: only the request's tells whether the caller is gone.
      const gone = response.socket === null ? request.socket.destroyed : response.destroyed
      if (gone) throw new CallerGone()
      const lane = laneOf(route)
      lane.budget.earn()
      chosen.place ??= lane.balance.next()
      attempt({ passage, head, token, lane, resolve, reject }, chosen.place, lane.retries)
    })
  }

  return Object.assign(proven(send), {
    webSockets: () => tunnels.size,
    paused: (route: Route) => laneOf(route).balance.paused(),
    leave: () => tunnels.leave(),
    async close() {
      await Promise.all([tunnels.leave(), pools.close()])
    },
  })
}

/** The upstream that the request went to first. The next attempt goes there too: a nonce is valid where it came from. */
interface Chosen {
  place?: Place
}

type Send = (passage: Passage, route: Route, token: IssuedToken, chosen?: Chosen) => Promise<Sent>

/** Sends a request again with the nonce that its upstream wants. A request without a proof is sent once. */
function proven(send: Send): Proxy {
  async function sendProven(...[passage, route, token]: Parameters<Proxy>): Promise<Outcome> {
    const chosen: Chosen = {}
    const first = await send(passage, route, token, chosen)
    if (first !== 'nonce_wanted') return first
    const second = isBodiless(passage.request) ? await send(passage, route, token, chosen) : first
    if (second !== 'nonce_wanted') return second
    // Nothing is wrong with the token: the upstream would ask for a nonce with another one, too.
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
