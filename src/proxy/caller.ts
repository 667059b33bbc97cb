import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { ExpectedEnd } from '../errors.ts'

/** The caller went away before it was answered. Nobody is left to tell. */
export class CallerGone extends ExpectedEnd {
  override readonly name = 'CallerGone'

  constructor() {
    super('the caller went away')
  }
}

/** How long an unread request body may go on after its answer, in milliseconds (RFC 9112, section 9.6). */
const LINGER_MS = 5_000

/** The caller is still sending what nobody wants. Closing at once could take its answer away; so could waiting long. */
export function linger(request: IncomingMessage): void {
  const timer = setTimeout(() => request.socket.destroy(), LINGER_MS)
  timer.unref()
  request.resume().once('close', () => clearTimeout(timer))
}

/** Half an answer must not pass for a whole one. `left`: the bytes of it that are to come; negative where that is not known. */
export function cut(response: ServerResponse, left: number): void {
  const { socket } = response
  const framed = response.chunkedEncoding || left >= 0
  // To an HTTP/1.0 caller the end of the connection is the end of an answer without a length; a reset is not.
  const plain = socket instanceof Socket && !(socket instanceof TLSSocket)
  if (!framed && plain) socket.resetAndDestroy()
  else response.destroy()
}
