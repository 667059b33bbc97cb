import type http from 'node:http'
import type { Socket } from 'node:net'

export interface Pipeline {
  /** Whether a request may wait behind the others of its connection; `last` may not, and nothing comes after it. */
  place(request: http.IncomingMessage, response: http.ServerResponse): 'taken' | 'last' | 'dropped'
  /** Whether nothing waits behind it so far. */
  isLast(response: http.ServerResponse): boolean
  /** Nothing that arrives after this answer is looked at (RFC 9112, section 9.6). */
  end(response: http.ServerResponse): void
}

/**
 * Node begins with each request of a connection as soon as it is read, and holds their answers back until it is their turn:
 * one caller could have any number of them under way. Few callers pipeline; who waits for answers is never counted.
 */
export function createPipeline(most: number): Pipeline {
  const waiting = new WeakMap<Socket, number>()
  const latest = new WeakMap<Socket, http.ServerResponse>()
  const ended = new WeakSet<Socket>()
  return {
    place(request, response) {
      // It has the connection: no other is under way.
      if (response.socket !== null) return 'taken'
      const { socket } = request
      if (ended.has(socket)) return 'dropped'
      const before = waiting.get(socket) ?? 0
      waiting.set(socket, before + 1)
      if (before < most) {
        latest.set(socket, response)
        response.once('close', () => waiting.set(socket, waiting.get(socket)! - 1))
        return 'taken'
      }
      if (before === most) return 'last'
      // Who sends on and on does not wait for answers.
      if (before > 2 * most) socket.destroy()
      return 'dropped'
    },
    isLast(response) {
      const behind = latest.get(response.req.socket)
      return behind === undefined || behind === response || behind.closed
    },
    end(response) {
      ended.add(response.req.socket)
    },
  }
}
