/**
 * An upstream in a process of its own: takes a body of any size, tells its digest, and gives one of the size that the
 * path ends with. Tells its parent the port. With `http2` it speaks that, in the clear.
 */
import http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { received, send } from './bodies.ts'

const listener: http.RequestListener = (request, response) => {
  // Whose caller is gone has nobody to answer.
  answer(request, response).catch(() => response.destroy())
}
const server =
  process.argv[2] === 'http2'
    ? http2.createServer(listener as unknown as Parameters<typeof http2.createServer>[1])
    : http.createServer({ requestTimeout: 0 }, listener)
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
process.on('disconnect', () => process.exit(0))

async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const bytes = Number(/\d+$/.exec(request.url ?? '')?.[0] ?? 0)
  response.setHeader('x-received', await received(request))
  if (request.headers['x-sized'] !== undefined) response.setHeader('content-length', bytes)
  await send(response, bytes)
}
