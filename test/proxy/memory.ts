/** Run by a test in a process of its own: what bodies of two sizes leave behind, in bytes of resident memory. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { createProxy } from '../../src/proxy/proxy.ts'
import { route, token } from './upstream.ts'

const MIB = 1_048_576
const PIECE = Buffer.alloc(65_536, 'x')

async function listening(server: http.Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Takes a body of any size, and gives one of the size that the path asks for. In a process of its own. */
async function upstream(): Promise<void> {
  const server = http.createServer(async (request, response) => {
    for await (const _ of request);
    await send(response, Number((request.url ?? '').slice(1)))
  })
  process.send?.(await listening(server))
}

async function send(to: http.ServerResponse | http.ClientRequest, bytes: number): Promise<void> {
  for (let left = bytes; left > 0; left -= PIECE.length) {
    if (!to.write(PIECE)) await once(to, 'drain')
  }
  to.end()
}

async function roundTrip(port: number, up: number, down: number): Promise<void> {
  const request = http.request({ port, host: '127.0.0.1', method: 'POST', path: `/${down}` })
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  await send(request, up)
  const [answer] = await answered
  let received = 0
  for await (const piece of answer) received += (piece as Buffer).length
  if (received !== down) throw new Error(`${received} bytes came of ${down}`)
}

/** The least of several: what is left when everything that can be freed has been. */
async function resident(): Promise<number> {
  let least = Infinity
  for (let round = 0; round < 5; round++) {
    global.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
    least = Math.min(least, process.memoryUsage.rss())
  }
  return least
}

async function measure(): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), ['upstream'])
  const [port] = (await once(child, 'message')) as [number]
  const proxy = createProxy()
  const to = route(`http://127.0.0.1:${port}`)
  const server = http.createServer((request, response) => {
    const target = { path: request.url ?? '', query: '' }
    void proxy({ request, response, target, id: 'id' }, to, token())
  })
  const here = await listening(server)
  await roundTrip(here, 64 * MIB, 64 * MIB)
  const small = await resident()
  await roundTrip(here, 256 * MIB, 256 * MIB)
  const large = await resident()
  process.stdout.write(JSON.stringify({ small, large }))
  child.disconnect()
  child.kill()
  server.close()
  server.closeAllConnections()
  await proxy.close()
}

await (process.argv[2] === 'upstream' ? upstream() : measure())
