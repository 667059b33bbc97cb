import type http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'

export interface ConnectionsOptions {
  readonly most: number
  /** Told of each that is one too many. */
  readonly refused: () => void
  /** What those are told, as it stands on the wire. */
  readonly refusal: () => string
}

/** How many of those that are turned away are told why; more would be connections of their own. */
const MOST_TOLD = 128
/** How long they have to read it, in milliseconds: closing at once could take it away. */
const LINGER_MS = 1_000

/**
 * Takes no more connections than that, so that those who have one are served. The others are told so and closed before Node
 * has read anything of them. Where they would have to shake hands first, they are only closed.
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
