import type { IncomingMessage } from 'node:http'

/** The caller went away before it was answered. Nobody is left to tell. */
export class CallerGone extends Error {
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
