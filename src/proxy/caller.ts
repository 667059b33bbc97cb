import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { ExpectedEnd } from '../errors.ts'

/** The caller went away before it was answered: no answer can be sent. */
export class CallerGone extends ExpectedEnd {
  override readonly name = 'CallerGone'

  constructor() {
    super('the caller went away')
  }
}

/** How long an unread request body may go on after its answer, in milliseconds (RFC 9112, section 9.6). */
const LINGER_MS = 5_000

/** Reads and drops for a while what the caller still sends. Closing at once could take its answer away. */
export function linger(request: IncomingMessage): void {
  const timer = setTimeout(() => request.socket.destroy(), LINGER_MS)
  timer.unref()
  request.resume().once('close', () => clearTimeout(timer))
}

/** Breaks an answer off, so that it cannot pass for a whole one. `left`: the bytes still to come; negative: unknown. */
export function cut(response: ServerResponse, left: number): void {
  const { socket } = response
  const framed = response.chunkedEncoding || left >= 0
  // To an HTTP/1.0 caller the end of the connection is the end of an answer without a length; a reset is not.
  const plain = socket instanceof Socket && !(socket instanceof TLSSocket)
  if (!framed && plain) socket.resetAndDestroy()
  else response.destroy()
}
