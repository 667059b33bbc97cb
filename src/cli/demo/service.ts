import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'

/** A request as a service received it. */
export interface Received {
  readonly token: string | undefined
  /** The claims of the token, unverified. */
  readonly claims: Readonly<Record<string, unknown>>
}

/** A small service behind the gateway. */
export interface Service {
  readonly origin: string
  readonly received: readonly Received[]
  close(): Promise<void>
}

const HEADERS = ['via', 'forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-request-id']

/**
 * Starts a service that answers every request with the claims of the token and the headers that it received. It only shows
 * them: it does NOT verify the token, as every real service must.
 *
 * @param port 0 stands for any that is free
 */
export async function startService(name: string, port: number): Promise<Service> {
  const received: Received[] = []
  const server = http.createServer((request, response) => {
    const one = receivedBy(request)
    received.push(one)
    request.resume()
    const said = HEADERS.flatMap((header) => {
      const value = request.headers[header]
      return value === undefined ? [] : [[header, value] as const]
    })
    const answer = {
      service: name,
      request: `${request.method} ${request.url}`,
      token: one.claims,
      headers: Object.fromEntries(said),
    }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify(answer, null, 2)}\n`)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function receivedBy({ headers: { authorization } }: http.IncomingMessage): Received {
  const [, token] = /^Bearer (\S+)$/i.exec(authorization ?? '') ?? []
  return { token, claims: claimsOf(token) }
}

/** The claims of a JWT, unverified; none where it is not one. */
export function claimsOf(token: string | undefined): Readonly<Record<string, unknown>> {
  const [, payload = ''] = (token ?? '').split('.')
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null ? { ...claims } : {}
  } catch {
    return {}
  }
}
