import type http from 'node:http'
import type { Socket } from 'node:net'

/** Whether a request may wait behind the others of its connection; `last` may not, and nothing comes after it. */
export type Pipeline = (
  request: http.IncomingMessage,
  response: http.ServerResponse,
) => 'taken' | 'last' | 'dropped'

/**
 * Node begins with each request of a connection as soon as it is read, and holds their answers back until it is their turn:
 * one caller could have any number of them under way. Few callers pipeline; who waits for answers is never counted.
 */
export function createPipeline(most: number): Pipeline {
  const waiting = new WeakMap<Socket, number>()
  return (request, response) => {
    // It has the connection: no other is under way.
    if (response.socket !== null) return 'taken'
    const { socket } = request
    const before = waiting.get(socket) ?? 0
    waiting.set(socket, before + 1)
    if (before < most) {
      response.once('close', () => waiting.set(socket, waiting.get(socket)! - 1))
      return 'taken'
    }
    if (before === most) return 'last'
    // Who sends on and on does not wait for answers.
    if (before > 2 * most) socket.destroy()
    return 'dropped'
  }
}
