/** A gateway between a real issuer and a recording upstream, and the three oracles that stand under whole-path tests. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Config } from '../src/config/config.ts'
import { readConfig } from '../src/config/load.ts'
import { createLog, type Log } from '../src/log.ts'
import type { Outcome } from '../src/server/reload.ts'
import { serve, type Serving } from '../src/server/serve.ts'

/** One request as the upstream received it. */
export interface Received {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: string
}

export interface Upstream {
  readonly origin: string
  readonly received: Received[]
}

/** What ends what was started for it: a test's context, or a load of `npm run judge`. */
export interface Scope {
  after(end: () => unknown): void
}

type Answer = (received: Received, response: http.ServerResponse) => void

/** Answers with the claims of the token that it received, unless told otherwise. */
export async function startUpstream(t: Scope, answer: Answer = tellClaims): Promise<Upstream> {
  const received: Received[] = []
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url = '', headers, rawHeaders } = request
      const one = { method, url, headers, rawHeaders, body: Buffer.concat(chunks).toString('utf8') }
      received.push(one)
      answer(one, response)
    })
  })
  return { origin: await listen(t, server), received }
}

function tellClaims({ headers }: Received, response: http.ServerResponse): void {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(claimsOf(headers.authorization)))
}

export function claimsOf(authorization: string | undefined): Record<string, unknown> {
  const [, payload = ''] = (authorization ?? '').split('.')
  return payload === ''
    ? {}
    : (JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Record<string, unknown>)
}

/** So many connections wait until they are taken: loads open thousands at once. */
const BACKLOG = 4_096

/** On loopback until the end. Port 0 stands for any that is free. */
export async function listen(t: Scope, server: http.Server, port = 0): Promise<string> {
  server.listen({ port, host: '127.0.0.1', backlog: BACKLOG })
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export interface Gateway extends Serving {
  /** Everything that was logged so far. */
  logged(): string
}

export interface Reloadable extends Gateway {
  /** Reloads, and finds this. */
  reloadWith(configuration: object): Promise<Outcome>
}

/** `behalf serve` in this process, on free ports, with a log that can be read. */
export async function startGateway(t: Scope, configuration: object): Promise<Reloadable> {
  let text = ''
  const log: Log = createLog({ destination: { write: (line) => (text += line) } })
  let now = configuration
  const load = async (): Promise<Config> =>
    readConfig({
      server: { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '1s' } },
      admin: { listen: '127.0.0.1:0' },
      ...now,
    })
  const serving = await serve(await load(), { log, load })
  t.after(() => serving.close())
  return {
    ...serving,
    logged: () => text,
    reloadWith(configuration) {
      now = configuration
      return serving.reload()
    },
  }
}

export interface Setting {
  readonly issuer: string
  readonly upstream: string
  readonly profile?: string
  readonly client?: object
  readonly api?: object
  readonly exchange?: object
  readonly proxy?: object
}

/** The configuration that most whole-path tests use: one API, one route, `GET` and `POST /orders`. */
export function oneRoute(setting: Setting): object {
  const { issuer, upstream, profile = 'rfc8693', client, api, exchange, proxy } = setting
  return {
    issuers: { tenant: { issuer, profile } },
    apis: {
      storefront: {
        issuer: 'tenant',
        audience: 'https://storefront.example',
        algorithms: ['RS256'],
        client: client ?? { id: 'storefront', secret: 'a-secret-of-the-storefront' },
        ...api,
      },
    },
    routes: [
      {
        name: 'orders',
        match: { path: '/orders' },
        authenticate: { api: 'storefront' },
        authorize: { scopes: ['read:orders'] },
        exchange: { audience: 'https://orders.internal', scopes: ['orders:read'], ...exchange },
        proxy: { upstream, ...proxy },
      },
    ],
  }
}

export function bearer(token: string): { readonly headers: { readonly authorization: string } } {
  return { headers: { authorization: `Bearer ${token}` } }
}

/** What may reach an upstream beside what the caller sent that is end-to-end and nobody's property. */
const ALLOWED = new Set([
  ...['accept', 'accept-encoding', 'accept-language', 'authorization', 'connection'],
  ...['content-length', 'content-type', 'forwarded', 'host', 'sec-fetch-mode', 'transfer-encoding'],
  ...['user-agent', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'],
  'x-request-id',
])

/** Oracle: no header reached the upstream that is not on the list; `extra` names what the test itself sent. */
export function assertHeadersAllowed({ received }: Upstream, extra: readonly string[] = []): void {
  for (const { rawHeaders } of received) {
    for (let index = 0; index < rawHeaders.length; index += 2) {
      const name = rawHeaders[index]!.toLowerCase()
      assert.ok(ALLOWED.has(name) || extra.includes(name), `unexpected header ${name}`)
    }
  }
}

/** Oracle: the subject token reached neither the upstream nor the log, and neither did any issued one. */
export function assertTokensContained(
  gateway: Pick<Gateway, 'logged'>,
  upstream: Upstream,
  subject: string,
): void {
  assert.equal(JSON.stringify(upstream.received).includes(subject), false, 'subject token upstream')
  const logged = gateway.logged()
  const signatures = [
    subject,
    ...upstream.received.map(({ headers }) => headers.authorization ?? ''),
  ]
  for (const token of signatures) {
    const signature = token.split('.')[2]
    if (signature !== undefined)
      assert.equal(logged.includes(signature), false, 'a token is logged')
  }
}
