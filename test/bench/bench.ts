/**
 * The cached path beside its floor, in interleaved rounds: CPU time a request of the measured process (user + system,
 * as the kernel charged it), requests a second, latency, and the ratio. It prints what it measured on, and fails nothing.
 *
 *   npm run bench -- [--rounds 5] [--seconds 4]
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { findLoad, type Load, type LoadResult } from './load.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)

interface Measured {
  readonly origin: string
  usage(): Promise<number>
}

interface Round extends LoadResult {
  /** Microseconds of CPU a request. */
  readonly cpu: number
}

const children: ChildProcess[] = []

async function start(script: string, ...arguments_: string[]): Promise<Measured> {
  const file = fileURLToPath(new URL(script, import.meta.url))
  const child = fork(file, arguments_, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  children.push(child)
  child.once('exit', (code) => {
    if (code !== 0) throw new Error(`${script} ended with ${code}`)
  })
  const [{ origin }] = (await once(child, 'message')) as [{ origin: string }]
  return {
    origin,
    async usage() {
      child.send('usage')
      const [{ user, system }] = (await once(child, 'message')) as [NodeJS.CpuUsage]
      return user + system
    },
  }
}

/** An issuer that gives each token 1.3 kB, as an issuer with permissions and an organization does. */
async function startIssuer(): Promise<{ readonly url: string; readonly token: string }> {
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
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  return { url, token: await sign('https://storefront.example', 'read:orders') }
}

function configuration(issuer: string, upstream: string): string {
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

async function round(
  load: Load,
  measured: Measured,
  token: string,
  duration: number,
): Promise<Round> {
  const before = await measured.usage()
  const result = await load.run(`${measured.origin}/orders/1`, token, duration)
  return { ...result, cpu: ((await measured.usage()) - before) / result.requests }
}

function median(figures: readonly number[]): number {
  return (
    [...figures].sort((one, other) => one - other)[Math.floor(figures.length / 2)] ?? Number.NaN
  )
}

function row(name: string, results: readonly Round[]): string {
  const of = (figure: (result: Round) => number): number => median(results.map(figure))
  return [
    name.padEnd(9),
    `${of(({ cpu }) => cpu).toFixed(1)} us`.padStart(12),
    of(({ perSecond }) => perSecond)
      .toFixed(0)
      .padStart(12),
    `${of(({ p50Ms }) => p50Ms).toFixed(2)} ms`.padStart(11),
    `${of(({ p99Ms }) => p99Ms).toFixed(2)} ms`.padStart(11),
    String(results.reduce((sum, { failed }) => sum + failed, 0)).padStart(8),
  ].join('')
}

const load = await findLoad()
const issuer = await startIssuer()
const upstream = await start('./upstream.js')
const floor = await start('./floor.js', upstream.origin)
const gateway = await start('./gateway.js', configuration(issuer.url, upstream.origin))

console.log(
  `node ${process.version} on ${os.availableParallelism()} x ${os.cpus()[0]?.model ?? 'unknown'}`,
)
console.log(`load: ${load.name}; ${rounds} interleaved rounds of ${seconds} s; medians`)
console.log(`token: ${issuer.token.length} bytes; answer: 1 kB; upstream in its own process\n`)
for (const measured of [floor, gateway]) await round(load, measured, issuer.token, 2)
const floors: Round[] = []
const gateways: Round[] = []
for (let index = 0; index < rounds; index++) {
  floors.push(await round(load, floor, issuer.token, seconds))
  gateways.push(await round(load, gateway, issuer.token, seconds))
}
console.log('           CPU/request  requests/s        p50        p99  failed')
console.log(row('floor', floors))
console.log(row('gateway', gateways))
const ratios = gateways.map(({ cpu }, index) => cpu / (floors[index]?.cpu ?? Number.NaN))
console.log(
  `\nratio of CPU a request, round by round: ${ratios.map((one) => one.toFixed(2)).join(' ')}`,
)
console.log(`median ${median(ratios).toFixed(2)} (goal 1.25)`)
for (const child of children) child.disconnect()
process.exit(0)
