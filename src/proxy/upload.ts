import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { LimitsConfig } from '../config/limits.ts'
import { GatewayError } from '../errors.ts'
import { tooLarge } from './received.ts'

export interface UploadOptions {
  /** Whether the caller waits for 100 before it sends. */
  readonly awaitsContinue: boolean
  readonly limits: Pick<LimitsConfig, 'body' | 'idleMs'>
  /** Called once, when the caller sends too much, or nothing for too long. Nothing more goes to the upstream then. */
  readonly refused: (failure: GatewayError) => void
}

/**
 * The body of a caller's request, on its way to the upstream. The request itself is not given to undici, because undici
 * destroys a body once the upstream has answered: the caller's connection would be lost before the answer is sent.
 */
export class Upload extends Readable {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #options: UploadOptions
  #started = false
  #awaitsCaller = false
  #idle: NodeJS.Timeout | undefined
  #bytes = 0

  constructor(request: IncomingMessage, response: ServerResponse, options: UploadOptions) {
    super()
    this.#request = request
    this.#response = response
    this.#options = options
  }

  /** Whether the upstream would take more, and the caller has not sent it. */
  get awaitsCaller(): boolean {
    return this.#awaitsCaller
  }

  readonly #onData = (chunk: Buffer): void => {
    const { body } = this.#options.limits
    this.#awaitsCaller = false
    this.#bytes += chunk.length
    // An announced length was judged with the head. The excess is never sent, so the upstream gets no complete body.
    if (body !== undefined && this.#bytes > body) this.#refuse(tooLarge(body))
    else if (!this.push(chunk)) this.#request.pause()
  }
  readonly #onEnd = (): void => {
    this.#awaitsCaller = false
    clearTimeout(this.#idle)
    this.push(null)
  }

  /** undici reads first when it has a connection: only then is the caller told to continue, and its time begins. */
  override _read(): void {
    this.#awaitsCaller = true
    if (this.#started) {
      this.#idle?.refresh()
      this.#request.resume()
      return
    }
    this.#started = true
    this.#idle = setTimeout(() => this.#lose(), this.#options.limits.idleMs).unref()
    if (this.#options.awaitsContinue && !this.#response.headersSent) this.#response.writeContinue()
    this.#request.on('data', this.#onData).on('end', this.#onEnd)
  }

  /** While the upstream takes no more of the body, the caller is not late. */
  #lose(): void {
    if (!this.#awaitsCaller) return
    this.#refuse(new GatewayError('request_timeout', 'the body did not arrive in time'))
  }

  #refuse(failure: GatewayError): void {
    this.#stop()
    this.#options.refused(failure)
  }

  #stop(): void {
    this.#awaitsCaller = false
    clearTimeout(this.#idle)
    this.#request.off('data', this.#onData).off('end', this.#onEnd)
  }

  /**
   * Reads and drops the rest of the body, because a caller that is still sending may read the answer only after it. Never
   * emits an error: the answer's handler has been told of the failure.
   */
  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#started) {
      this.#stop()
      this.#request.resume()
    }
    done()
  }
}
