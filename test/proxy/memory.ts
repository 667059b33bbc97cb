/** Run by a test in a process of its own: what bodies of two sizes leave behind, in bytes of resident memory. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { createProxy } from '../../src/proxy/proxy.ts'
import { MIB, plateau, resident, roundTrip } from './bodies.ts'
import { route, token } from './upstream.ts'

const upstream = fork(fileURLToPath(new URL('large-upstream.js', import.meta.url)))
const [port] = (await once(upstream, 'message')) as [number]
const proxy = createProxy()
const to = route(`http://127.0.0.1:${port}`)
const server = http.createServer((request, response) => {
  const target = { path: request.url ?? '', query: '' }
  void proxy({ request, response, target, id: 'id' }, to, token())
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const small = await plateau(() => roundTrip({ origin, up: 32 * MIB, down: 32 * MIB }))
await roundTrip({ origin, up: 128 * MIB, down: 128 * MIB })
const large = await resident()
process.stdout.write(JSON.stringify({ small, large }))

upstream.disconnect()
server.close()
server.closeAllConnections()
await proxy.close()
