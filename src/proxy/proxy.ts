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
 * What no upstream has answered is sent again as the route's `retries` say. An upstream that could not be reached, or cannot
 * serve for now, is passed over where the route has others.
 *
 * A WebSocket (RFC 6455) goes on as its handshake, and is open when the upstream has said so: the answer then ends when both
 * connections have. Where the route says so it ends with the tokens, though never within a frame of a side.
 *
 * Trailers of an answer (RFC 9110, section 6.5) reach callers that take them; those of a request are dropped.
 *
 * Does NOT follow redirects, decode bodies, look into a WebSocket's messages, or forward other upgrades, interim answers and reason phrases.
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
  /** Headers that callers bring for the gateway alone, in lower case. Default none. */
  readonly ownedHeaders?: ReadonlySet<string> | undefined
  /** Keeps the connections to upstreams beyond this proxy. */
  readonly keep?: Keep | undefined
  /** Told of each upstream that begins to pause. */
  readonly paused?: Paused
}

/** What those who run a proxy do with it, beside what requests do. */
export interface ProxyControls {
  /** How many WebSockets are open. */
  webSockets(): number
  /** How many upstreams of a route are passed over now. */
  paused(route: Route): number
  /** Ends WebSockets well, which would not end by themselves: those that are open, and those that open later. */
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
      // A pipelined request's response has no connection yet that could tell.
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

/** The upstream that is asked first: a nonce is good where it came from. */
interface Chosen {
  place?: Place
}

type Send = (passage: Passage, route: Route, token: IssuedToken, chosen?: Chosen) => Promise<Sent>

/** Asks once more with the nonce that an upstream wants. What has no proof passes as it is. */
function proven(send: Send): Proxy {
  async function sendProven(...[passage, route, token]: Parameters<Proxy>): Promise<Outcome> {
    const chosen: Chosen = {}
    const first = await send(passage, route, token, chosen)
    if (first !== 'nonce_wanted') return first
    const second = isBodiless(passage.request) ? await send(passage, route, token, chosen) : first
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
