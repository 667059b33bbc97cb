import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'

/**
 * The body of a caller's request, on its way to the upstream. The request itself is not handed to undici, which destroys
 * what it was given once the upstream has answered: the answer would go down with the caller's connection.
 */
export class Upload extends Readable {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #awaitsContinue: boolean
  #started = false

  constructor(request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean) {
    super()
    this.#request = request
    this.#response = response
    this.#awaitsContinue = awaitsContinue
  }

  readonly #onData = (chunk: Buffer): void => {
    if (!this.push(chunk)) this.#request.pause()
  }
  readonly #onEnd = (): void => void this.push(null)

  /** undici reads first when it has a connection: only then is the caller told to go on. */
  override _read(): void {
    if (this.#started) {
      this.#request.resume()
      return
    }
    this.#started = true
    if (this.#awaitsContinue && !this.#response.headersSent) this.#response.writeContinue()
    this.#request.on('data', this.#onData).on('end', this.#onEnd)
  }

  /**
   * What is left is read and dropped, so that the caller, who may be sending still, comes to read the answer. No error
   * is ever emitted: whose failure it was, the answer's handler was told.
   */
  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#started) {
      this.#request.off('data', this.#onData).off('end', this.#onEnd).resume()
    }
    done()
  }
}
