import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Dispatcher, errors } from 'undici'
import { GatewayError, withoutStacks } from '../errors.ts'
import type { Succession } from '../exchange/exchange.ts'
import { type ResponseHead, responseHead, writeHead } from './answer-head.ts'
import { failureOf, tooLong } from './blame.ts'
import { CallerGone, cut, linger } from './caller.ts'
import { restated } from './challenges.ts'
import { Deadlines } from './deadlines.ts'
import { isAccepted } from './handshake.ts'
import type { Lane, Place } from './lanes.ts'
import type { Upstream } from './pools.ts'
import type { Unserved } from './retry.ts'
import { tellSuccessor } from './successor.ts'
import { announced, type Listed, trailersOf, wantsTrailers } from './trailers.ts'
import type { TunnelOptions } from './tunnels.ts'
import { UpgradeResponse } from './upgrade-response.ts'
import type { Upload } from './upload.ts'

export type Outcome = 'answered' | 'token_rejected'

/** What became of one request. `nonce_wanted`: it had a proof, and nothing has been sent to the caller yet. */
export type Sent = Outcome | 'nonce_wanted'

export interface AnswerOptions {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly id: string
  readonly upstream: Upstream
  readonly lane: Lane
  readonly place: Place
  /** Whether the request carries an issued token, so that a challenge is about that token. */
  readonly withToken: boolean
  /** Its `challenge` is set to what the upstream asks of the user, where another token is tried first. */
  readonly passage: {
    challenge?: GatewayError | undefined
    readonly succession?: Succession | undefined
    readonly startedAt?: number
  }
  /** Whether the request carries a proof, so that the upstream can want a nonce in it. */
  readonly withProof: boolean
  readonly upload: Upload | null
  /** Undefined where the request is no WebSocket handshake. */
  readonly websocket: Opening | undefined
  /** Sends the request again; false where it may not be sent again. */
  readonly again: (why: Unserved) => boolean
  readonly resolve: (outcome: Sent) => void
  readonly reject: (error: Error) => void
}

/** A WebSocket that an upstream has been asked to open. */
export interface Opening {
  readonly key: string
  /** Joins the caller with the upstream that has accepted it. */
  join(sides: Pick<TunnelOptions, 'caller' | 'upstream' | 'ended'>): void
}

/** An answer that is not forwarded is read to its end, so that its connection can be used again; a longer one is cut. */
const MAX_DRAINED_BYTES = 65_536

/**
 * Brings one answer of an upstream to the caller. It implements undici's older handler interface: the newer one is built on
 * it, turns the raw headers into an object, and loses their order and spelling.
 *
 * Its states: `waiting` for the head; `streaming` the body; `ended`: the upstream is done, the caller may still read;
 * `draining`: the answer is read and dropped; `over`.
 */
export class Answer implements Dispatcher.DispatchHandler {
  readonly #options: AnswerOptions
  #state: 'waiting' | 'streaming' | 'ended' | 'draining' | 'over' = 'waiting'
  #abort: ((error?: Error) => void) | undefined
  #resume: (() => void) | undefined
  /** Bytes of the body that are still to come; negative where the length is unknown. */
  #left = -1
  #drained = 0
  /** Whether a byte of an answer has arrived. */
  #begun = false
  /** The headers that the upstream's Connection names. */
  #listed: Listed
  /** When the first interim answer came. */
  #interimAt: number | undefined
  /** Made when needed: most routes have no `total`, and most callers read as fast as the gateway writes. */
  #deadlines: Deadlines | undefined

  constructor(options: AnswerOptions) {
    this.#options = options
    const { request, response } = options
    response.on('close', this.#close)
    if (options.lane.limits.totalMs !== undefined) this.#deadlines = this.#newDeadlines()
    if (response.socket !== null) return
    // The response of a pipelined request has no socket yet, and hears of no `close`. Many may wait on one socket.
    const { socket } = request
    socket.setMaxListeners(0).once('close', this.#close)
    // The previous answer on this connection had a time limit for reading; it must not hold for this one.
    response.once('socket', () => socket.setTimeout(0))
    response.once('close', () => socket.off('close', this.#close))
  }

  readonly #close = (): void => this.#callerClosed()

  onConnect(abort: (error?: Error) => void): void {
    if (this.#state === 'over') abort()
    else this.#abort = abort
  }

  onResponseStarted(): void {
    this.#begun = true
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void): boolean {
    // Interim answers end here: RFC 9110, section 15.2, has proxies forward them, and not gateways (section 3.7).
    if (status < 200) return this.#awaitMore(status)
    if (this.#isPassedOver(status)) return true
    const { request, response, id, withToken, withProof, upstream, lane, passage } = this.#options
    const head = responseHead(status, rawHeaders, id, lane.rules)
    const { headers, contentLength } = head
    if (head.nonce !== undefined) upstream.dpopNonce = head.nonce
    const refusal = status === 401 || status === 403 ? this.#restate(rawHeaders) : undefined
    if (refusal !== undefined) {
      this.#drain()
      this.#options.reject(refusal)
      return true
    }
    if (status === 401 && head.challenged && withToken) {
      this.#rejectToken(head.nonceWanted && withProof ? 'nonce_wanted' : 'token_rejected')
      return true
    }
    if (passage.succession !== undefined) tellSuccessor(headers, passage.succession)
    const isBodiless = status === 204 || status === 304 || request.method === 'HEAD'
    if (contentLength < 0 && !isBodiless) this.#frame(head)
    writeHead(response, status, headers)
    this.#state = 'streaming'
    this.#resume = resume
    this.#left = contentLength
    this.#listed = head.listed
    if (isBodiless || (contentLength === 0 && !upstream.http2)) this.#end()
    else if (contentLength < 0) process.nextTick(() => this.#flush())
    return true
  }

  /** Frames an answer of unknown length: in chunks, or by HTTP/2. Only such an answer announces trailers. */
  #frame({ headers, trailer, listed }: ResponseHead): void {
    const { request, response, lane } = this.#options
    if (response.useChunkedEncodingByDefault !== undefined && request.httpVersion !== '1.1') {
      // RFC 9112, section 6.1: no chunks to HTTP/1.0 callers, though Node sends them to those that say `TE: chunked`.
      response.useChunkedEncodingByDefault = false
      return
    }
    const names =
      trailer && wantsTrailers(request) ? announced(trailer, lane.rules, listed) : undefined
    if (names !== undefined) headers.push('Trailer', names)
  }

  /** Sends the head alone: a stream of events may have no event yet, and its caller waits for the head. */
  #flush(): void {
    if (this.#state === 'streaming' && this.#left === -1) this.#options.response.flushHeaders()
  }

  /** undici has handed the connection over. Nothing but the request has been sent on it. */
  onUpgrade(status: number, rawHeaders: Buffer[], socket: Duplex): void {
    const { response, id, lane, place, passage, websocket, resolve } = this.#options
    const accepted = websocket !== undefined && isAccepted(status, rawHeaders, websocket.key)
    if (this.#state !== 'waiting' || !accepted || !(response instanceof UpgradeResponse)) {
      socket.on('error', () => undefined).destroy()
      this.onError(new Error('the upstream switched protocols in a way that nobody asked for'))
      return
    }
    lane.balance.served(place)
    this.#state = 'over'
    this.#deadlines?.end()
    response.off('close', this.#close)
    const { headers } = responseHead(status, rawHeaders, id, lane.rules)
    if (passage.succession !== undefined) tellSuccessor(headers, passage.succession)
    const caller = response.switchTo('websocket', headers)
    websocket.join({ caller, upstream: socket, ended: () => resolve('answered') })
  }

  onData(chunk: Buffer): boolean {
    const { response } = this.#options
    if (this.#state === 'draining') {
      this.#drained += chunk.length
      if (this.#drained > MAX_DRAINED_BYTES) this.#abort?.()
      return true
    }
    if (this.#state !== 'streaming') return true
    this.#left -= chunk.length
    // In HTTP/2 trailers may follow a body whose length was announced.
    if (this.#left === 0 && !this.#options.upstream.http2) {
      // The last piece and the end leave in one write.
      this.#end(chunk)
      return true
    }
    if (response.write(chunk)) return true
    this.#awaitReader()
    response.once('drain', this.#read)
    return false
  }

  readonly #read = (): void => {
    this.#deadlines?.rest()
    this.#resume?.()
  }

  /** Most answers have left at once. One that has not is timed, however little is left: its request is still in flight. */
  #end(chunk?: Buffer): void {
    const { response } = this.#options
    this.#state = 'ended'
    response.end(chunk)
    if (response.writableLength > 0) this.#awaitReader()
  }

  #awaitReader(): void {
    this.#deadlines ??= this.#newDeadlines()
    this.#deadlines.await()
  }

  #newDeadlines(): Deadlines {
    const { response, lane, passage, upload } = this.#options
    return new Deadlines({
      response,
      limits: lane.limits,
      startedAt: passage.startedAt ?? performance.now(),
      over: () => this.refuse(tooLong(upload)),
      unread: () => this.refuse(new CallerGone()),
    })
  }

  /** Ends a request that exceeds a limit of size or time: nothing more of it goes to the upstream. */
  refuse(failure: Error): void {
    if (this.#state === 'over' || this.#state === 'draining') return
    if (this.#state !== 'waiting') cut(this.#options.response, this.#left)
    this.#leave(failure)
  }

  onComplete(trailers?: readonly string[] | readonly Buffer[] | null): void {
    if (this.#state !== 'streaming') return
    if (this.#options.upstream.breaking) {
      this.onError(new Error('the upstream reset the connection within its answer'))
      return
    }
    const { request, response, lane } = this.#options
    if (trailers?.length && wantsTrailers(request)) {
      // Node drops trailers where nothing is chunked (RFC 9112, section 7.1.2), and where head and end leave together.
      response.addTrailers(trailersOf(trailers, lane.rules, this.#listed))
      response.flushHeaders()
    }
    this.#end()
  }

  onError(error: Error): void {
    if (this.#state !== 'waiting' && this.#state !== 'streaming') return
    const { response, upstream, lane, place } = this.#options
    const failure = failureOf(error)
    const isStale = this.#abort !== undefined && !this.#begun && upstream.ends.has(error)
    if (failure instanceof GatewayError && !isStale) lane.balance.failed(place)
    if (this.#state === 'streaming') cut(response, this.#left)
    else if (failure instanceof GatewayError) {
      const why = isStale ? 'stale' : this.#abort === undefined ? 'unsent' : undefined
      if (why !== undefined && this.#giveUp(why)) return
    }
    this.#fail(failure)
  }

  /** Bounds interim answers: undici's timeout begins anew with each of them, so that they could come for ever. */
  #awaitMore(status: number): boolean {
    if (status === 101) {
      this.#abort?.(new Error('the upstream says that it switched, and not to what'))
      return true
    }
    const now = performance.now()
    this.#interimAt ??= now
    if (now - this.#interimAt > this.#options.lane.timeoutMs) {
      this.#abort?.(new errors.HeadersTimeoutError())
    }
    return true
  }

  #isPassedOver(status: number): boolean {
    const { lane, place } = this.#options
    if (status !== 502 && status !== 503 && status !== 504) {
      lane.balance.served(place)
      return false
    }
    lane.balance.failed(place)
    if (!this.#giveUp('unavailable')) return false
    this.#drain()
    return true
  }

  /** Leaves the request to another attempt; false where there is none. */
  #giveUp(why: Unserved): boolean {
    const { request, response, upload, again } = this.#options
    if (!again(why)) return false
    this.#state = 'over'
    upload?.destroy()
    this.#deadlines?.end()
    response.off('close', this.#close)
    request.socket.off('close', this.#close)
    return true
  }

  /** What the upstream asks of the user. Undefined where it asks for nothing, or where another token is tried first. */
  #restate(rawHeaders: readonly Buffer[]): GatewayError | undefined {
    const { withToken, passage } = this.#options
    const refusal = withToken ? restated(rawHeaders) : undefined
    // The issuer may have revoked the token and issue another one. The user is asked only if it does not.
    if (refusal?.stepUp?.claims === undefined) return refusal
    passage.challenge = refusal
    return undefined
  }

  #rejectToken(outcome: Sent): void {
    this.#drain()
    this.#options.resolve(outcome)
  }

  #drain(): void {
    const { upload } = this.#options
    this.#state = 'draining'
    // The upstream has refused the request: the rest of the body is not sent.
    if (upload !== null && !upload.readableEnded) this.#abort?.()
  }

  #fail(error: Error): void {
    this.#state = 'over'
    this.#options.upload?.destroy()
    this.#options.reject(error)
  }

  /** Fails and aborts. undici then makes an error of its own, for which Node would capture a stack that nobody reads. */
  #leave(failure: Error): void {
    this.#fail(failure)
    withoutStacks(() => this.#abort?.(failure))
  }

  /** The response has closed: it was sent whole, or the caller is gone. */
  #callerClosed(): void {
    const { request, response, resolve } = this.#options
    this.#deadlines?.end()
    if (this.#state === 'ended' && response.writableFinished) {
      this.#state = 'over'
      resolve('answered')
    } else if (this.#state !== 'over' && this.#state !== 'draining') {
      this.#leave(new CallerGone())
    }
    if (!request.complete && !request.destroyed) linger(request)
  }
}
