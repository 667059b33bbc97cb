/** What the cached path is measured with: an issuer, an upstream, the floor and the gateway, each where it can be charged. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { Scope } from '../system.ts'
import type { Used } from './usage.ts'

/** A process that is measured. */
export interface Measured {
  readonly origin: string
  usage(): Promise<Used>
  /** Collects its garbage first, where it was started with `--expose-gc`. */
  collected(): Promise<Used>
}

/** Starts a script of this folder in a process of its own. */
export async function start(
  scope: Scope,
  script: string,
  { given = [], flags = [] }: { readonly given?: string[]; readonly flags?: string[] } = {},
): Promise<Measured> {
  const file = fileURLToPath(new URL(script, import.meta.url))
  const child = fork(file, given, {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: flags,
  })
  scope.after(() => child.kill())
  const [{ origin }] = (await toldBy(child, script)) as [{ origin: string }]
  const ask = async (what: string): Promise<Used> => {
    child.send(what)
    const [used] = (await toldBy(child, script)) as [Used]
    return used
  }
  return { origin, usage: () => ask('usage'), collected: () => ask('collect') }
}

function toldBy(child: ChildProcess, script: string): Promise<unknown[]> {
  const told = new AbortController()
  const { signal } = told
  const ended = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`${script} ended with ${String(code)}`)
  })
  return Promise.race([once(child, 'message', { signal }), ended]).finally(() => {
    ended.catch(() => undefined)
    told.abort()
  })
}

/** An issuer that gives each token 1.3 kB, as an issuer with permissions and an organization does. */
export async function startIssuer(
  scope: Scope,
): Promise<{ readonly url: string; readonly token: string }> {
  const { publicKey, privateKey } = await generateKeyPair('RS256')
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256' }] }
  let url = ''
  const sign = (audience: string, scope: string): Promise<string> =>
    new SignJWT({
      scope,
      permissions: Array.from({ length: 24 }, (_, n) => `bench:permission-${n}`),
    })
      .setProtectedHeader({ alg: 'RS256', typ: 'at+jwt', kid: 'bench' })
      .setIssuer(url)
      .setAudience(audience)
      .setSubject('bench|user')
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(privateKey)
  const server = http.createServer((request, response) => {
    request.resume()
    const answer =
      request.url === '/jwks'
        ? Promise.resolve(jwks)
        : sign('https://orders.internal', 'orders:read').then((access_token) => ({
            access_token,
            token_type: 'Bearer',
            issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
            expires_in: 3_600,
          }))
    void answer.then((body) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  scope.after(() => {
    server.close()
    server.closeAllConnections()
  })
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  return { url, token: await sign('https://storefront.example', 'read:orders') }
}

/** Of a gateway with one route, `/orders`, as JSON. */
export function configuration(issuer: string, upstream: string): string {
  return JSON.stringify({
    server: { listen: '127.0.0.1:0' },
    admin: { listen: '127.0.0.1:0' },
    issuers: {
      bench: {
        issuer,
        profile: 'rfc8693',
        tokenEndpoint: `${issuer}token`,
        jwksUri: `${issuer}jwks`,
      },
    },
    apis: {
      storefront: {
        issuer: 'bench',
        audience: 'https://storefront.example',
        algorithms: ['RS256'],
        client: { id: 'bench', secret: 'bench-secret' },
      },
    },
    routes: [
      {
        name: 'orders',
        match: { path: '/orders', methods: ['GET'] },
        authenticate: { api: 'storefront' },
        authorize: { scopes: ['read:orders'] },
        exchange: { audience: 'https://orders.internal', scopes: ['orders:read'] },
        proxy: { upstream },
      },
    ],
  })
}
