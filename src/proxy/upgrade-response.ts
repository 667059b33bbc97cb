import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** How long the gateway reads on after an answer what the caller still sends, in milliseconds (RFC 9112, section 9.6). */
const LINGER_MS = 5_000

/**
 * The answer to a request that offers another protocol, whose connection Node has handed over. It is the last answer on the
 * connection: nothing after it is read as a request, so that a refused offer cannot smuggle one in.
 */
export class UpgradeResponse extends ServerResponse {
  readonly #connection: Socket
  readonly #head: Buffer

  /** Undefined where the answer to an earlier request is under way: the caller did not wait for that, and gets no other. */
  static to(request: IncomingMessage, socket: Socket, head: Buffer): UpgradeResponse | undefined {
    // Node keeps the response on the socket, and throws where there are two.
    const { _httpMessage: other } = socket as { readonly _httpMessage?: unknown }
    return other == null ? new UpgradeResponse(request, socket, head) : undefined
  }

  private constructor(request: IncomingMessage, socket: Socket, head: Buffer) {
    super(request)
    this.#connection = socket
    this.#head = head
    this.shouldKeepAlive = false
    // Needs no handling: `close` follows every error.
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

  /** Answers 101 with these names and values in turn. From then on the returned connection belongs to the code that asked. */
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
