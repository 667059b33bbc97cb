import type http from 'node:http'
import type { Socket } from 'node:net'

export interface Pipeline {
  /** Whether a request may wait behind others on its connection. `last`: it may not, and nothing after it is read. */
  place(request: http.IncomingMessage, response: http.ServerResponse): 'taken' | 'last' | 'dropped'
  /** Whether no other request waits behind this one so far. */
  isLast(response: http.ServerResponse): boolean
  /** Makes this the last answer: requests that arrive after it are dropped (RFC 9112, section 9.6). */
  end(response: http.ServerResponse): void
}

/**
 * Bounds pipelining. Node starts each request of a connection as soon as it is read, and holds its answer back until its
 * turn has come: one caller could have any number of them under way. Callers that wait for their answers are never counted.
 */
export function createPipeline(most: number): Pipeline {
  const waiting = new WeakMap<Socket, number>()
  const latest = new WeakMap<Socket, http.ServerResponse>()
  const ended = new WeakSet<Socket>()
  return {
    place(request, response) {
      // The response has the socket: no earlier one is under way.
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
      // A caller that goes on sending this long does not wait for answers.
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
