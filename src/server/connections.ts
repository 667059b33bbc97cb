import type http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'

export interface ConnectionsOptions {
  readonly most: number
  /** Called for each connection beyond `most`. */
  readonly refused: () => void
  /** The answer that those get, as bytes on the wire. */
  readonly refusal: () => string
}

/** How many refused connections may be open at once to be told why: more would be a load of their own. */
const MOST_TOLD = 128
/** How long a refused caller has to read that, in milliseconds: closing at once could take the answer away. */
const LINGER_MS = 1_000

/**
 * Takes at most `most` connections, so that those that are open can be served. Others are told so and closed before Node has
 * read anything from them. With TLS they are only closed, because an answer would need a handshake first.
 *
 * @returns how many are open
 */
export function boundConnections(server: http.Server, options: ConnectionsOptions): () => number {
  const { most, refused, refusal } = options
  const takes = server.listeners('connection')
  const isPlain = !(server instanceof https.Server)
  let open = 0
  let told = 0
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    if (open < most) {
      open++
      socket.once('close', () => open--)
      for (const take of takes) take.call(server, socket)
      return
    }
    refused()
    socket.on('error', () => undefined)
    if (isPlain && told < MOST_TOLD) tell(socket)
    else socket.destroy()
  })

  function tell(socket: Socket): void {
    told++
    const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref()
    socket.once('close', () => {
      told--
      clearTimeout(timer)
    })
    socket.end(refusal())
    socket.resume()
  }

  return () => open
}
