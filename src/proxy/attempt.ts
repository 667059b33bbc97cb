import type { Dispatcher } from 'undici'
import type { IssuedToken } from '../exchange/issued.ts'
import { Answer, type Opening, type Sent } from './answer.ts'
import type { PeerOf } from './forwarded.ts'
import { requestHead } from './headers.ts'
import { connectionsTo, type Lane, pathAt, type Place } from './lanes.ts'
import type { Passage } from './passage.ts'
import type { Pools } from './pools.ts'
import type { Received } from './received.ts'
import { isRepeatable, type Unserved } from './retry.ts'
import { removeOwned } from './successor.ts'
import { wantsTrailers } from './trailers.ts'
import type { Tunnels } from './tunnels.ts'
import { Upload } from './upload.ts'

/** What all attempts to send one request have in common. */
export interface Sending {
  readonly passage: Passage
  readonly head: Received
  readonly token: IssuedToken
  readonly lane: Lane
  readonly resolve: (outcome: Sent) => void
  readonly reject: (error: Error) => void
}

export interface AttemptOptions {
  readonly pools: Pools
  readonly tunnels: Tunnels
  readonly peerOf: PeerOf
  /** Headers that callers send to the gateway alone, in lower case. */
  readonly ownedHeaders: ReadonlySet<string> | undefined
}

/** Sends a request to one of the route's upstreams. Where that does not answer, sends it again, at most `left` times. */
export type Attempt = (sending: Sending, place: Place, left: number) => void

const NO_CLAIMS = {}

/** One object shape for every answer, written out: spreading objects here cost a tenth of the whole request. */
export function createAttempt(options: AttemptOptions): Attempt {
  const { pools, tunnels, peerOf, ownedHeaders } = options
  return function attempt(sending, place, left) {
    const { passage, head, token, lane, resolve, reject } = sending
    const { request, response, target, id, subject } = passage
    const { method = '' } = request
    const upstream = connectionsTo(place, lane, token, pools)
    const path = pathAt(place, lane, target)
    const withToken = token.scheme !== 'none'
    const headers = requestHead(request, head, {
      peer: peerOf(request.socket),
      authorization: withToken ? `${token.scheme} ${token.value}` : undefined,
      proof: token.prove?.(method, place.origin + path, upstream.dpopNonce),
      id,
      set: lane.rules.set,
      claims: subject?.claims ?? NO_CLAIMS,
    })
    if (ownedHeaders !== undefined) removeOwned(headers, ownedHeaders)
    // RFC 9110, section 10.1.4, wants `TE` named in Connection, which undici does not allow over HTTP/1.1.
    if (upstream.http2 && wantsTrailers(request)) headers.push('te', 'trailers')
    if (head.hasBody && request.readableDidRead) {
      throw new Error('the request body was read before it could be forwarded')
    }
    const upload = head.hasBody
      ? new Upload(request, response, {
          awaitsContinue: head.awaitsContinue,
          limits: lane.limits,
          refused: (failure) => answer.refuse(failure),
        })
      : null
    const again = (why: Unserved): boolean => {
      const mayHelp = why !== 'unavailable' || lane.hasOthers
      if (left === 0 || !mayHelp || !isRepeatable(method, head, why)) return false
      if (!lane.budget.spend()) return false
      attempt(sending, lane.balance.next(place), left - 1)
      return true
    }
    const websocket =
      head.websocketKey === undefined ? undefined : opening(head.websocketKey, sending, tunnels)
    // prettier-ignore
    const answer = new Answer({
      request, response, id, upstream, lane, place, withToken, withProof: token.prove !== undefined,
      passage, upload, again, resolve, reject, websocket,
    })
    upstream.pool.dispatch(
      {
        path: path + target.query,
        method: method as Dispatcher.HttpMethod,
        headers,
        body: upload,
        upgrade: websocket === undefined ? null : 'websocket',
        headersTimeout: lane.timeoutMs,
        bodyTimeout: lane.timeoutMs,
      },
      answer,
    )
  }
}

/** Joins the caller with an upstream that accepts its WebSocket. The route says how long that lasts. */
function opening(key: string, { passage, lane, token }: Sending, tunnels: Tunnels): Opening {
  const { expiry, idleMs } = lane.websocket!
  const until = Math.min(passage.subject?.expiresAt ?? Infinity, token.expiresAt)
  return {
    key,
    join: (sides) =>
      tunnels.open({ ...sides, idleMs, until: expiry === 'close' ? until : undefined }),
  }
}
