/** The floor that the gateway is measured against: a bare `node:http` server that streams through undici's dispatcher. */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { Pool } from 'undici'
import { reportUsage } from './usage.ts'

const upstream = process.argv[2]
if (upstream === undefined) throw new TypeError('usage: floor.js UPSTREAM')
const pool = new Pool(upstream, { pipelining: 1 })

// Slow header sections end as they do at the gateway: that costs nothing here, and makes waves of them comparable.
const limits = { headersTimeout: 10_000, connectionsCheckingInterval: 2_000 }

const server = http.createServer(limits, (request, response) => {
  pool.dispatch(
    {
      path: request.url ?? '/',
      method: (request.method ?? 'GET') as 'GET',
      headers: withoutConnection(request.rawHeaders),
      body: request.method === 'GET' ? null : request,
    },
    {
      onConnect: () => undefined,
      onHeaders(status: number, headers: Buffer[], resume: () => void) {
        const lines = headers.map((line) => line.toString('latin1'))
        response.writeHead(status, withoutConnection(lines))
        response.on('drain', resume)
        return true
      },
      onData: (chunk: Buffer) => response.write(chunk),
      onComplete: () => void response.end(),
      onError: () => void response.destroy(),
    },
  )
})

function withoutConnection(lines: readonly string[]): string[] {
  const kept: string[] = []
  for (let index = 0; index < lines.length; index += 2) {
    const name = lines[index]!.toLowerCase()
    if (name === 'connection' || name === 'keep-alive' || name === 'host') continue
    if (name === 'transfer-encoding') continue
    kept.push(lines[index]!, lines[index + 1]!)
  }
  return kept
}

server.listen(0, '127.0.0.1', () => {
  reportUsage(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
