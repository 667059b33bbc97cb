import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** How long what the caller still sends is read after an answer, in milliseconds (RFC 9112, section 9.6). */
const LINGER_MS = 5_000

/**
 * The answer to a request whose connection Node has handed over, since it offers another protocol. Any answer is the last
 * one there: nothing on it is ever read as another request, so that what was refused cannot bring one along.
 */
export class UpgradeResponse extends ServerResponse {
  readonly #connection: Socket
  readonly #head: Buffer

  /** Undefined where an answer to an earlier request is under way: the caller has not waited, and gets no other. */
  static to(request: IncomingMessage, socket: Socket, head: Buffer): UpgradeResponse | undefined {
    // Node keeps it on the connection, and throws where there are two.
    const { _httpMessage: other } = socket as { readonly _httpMessage?: unknown }
    return other == null ? new UpgradeResponse(request, socket, head) : undefined
  }

  private constructor(request: IncomingMessage, socket: Socket, head: Buffer) {
    super(request)
    this.#connection = socket
    this.#head = head
    this.shouldKeepAlive = false
    // Who reads of it is told by its `close`.
    socket.on('error', () => undefined)
    socket.on('drain', this.#drained)
    this.assignSocket(socket)
    this.once('finish', () => {
      const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref()
      socket.once('close', () => clearTimeout(timer))
      socket.end()
      socket.resume()
    })
  }

  readonly #drained = (): void => void this.emit('drain')

  /** Answers 101 with these names and values in turn. The connection is the caller's of this from then on. */
  switchTo(protocol: string, headers: readonly string[]): Socket {
    const socket = this.#connection
    this.writeHead(101, [...headers, 'Connection', 'Upgrade', 'Upgrade', protocol])
    this.flushHeaders()
    socket.off('drain', this.#drained)
    this.detachSocket(socket)
    if (this.#head.length > 0) socket.unshift(this.#head)
    return socket
  }
}
