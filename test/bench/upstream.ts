/** An upstream in its own process: 1 kB of JSON, whatever is asked. */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { reportUsage } from './usage.ts'

const body = Buffer.from(JSON.stringify({ text: 'x'.repeat(1_011) }))
const headers = ['Content-Type', 'application/json', 'Content-Length', String(body.length)]

const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  request.resume()
  response.writeHead(200, headers).end(body)
})
server.listen(0, '127.0.0.1', () => {
  reportUsage(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
