import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { createDpopKey } from '../../src/exchange/dpop.ts'
import { createOutbound } from '../../src/outbound.ts'
import { createTenant } from '../../src/tenant/index.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { GATEWAY_CLIENT, startAuthorizationServer } from '../interop/authorization-server.ts'
import { bearer, claimsOf } from '../system.ts'
import { folder } from '../folder.ts'
import { behalf, MAIN } from './behalf.ts'

const PEM = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  ...{ type: 'pkcs8', format: 'pem' },
}) as string

async function setting(t: TestContext): Promise<{ cwd: string; token: string }> {
  const tenant = await createTenant()
  t.after(() => tenant.close())
  const orders = tenant.state.resourceServers.get('https://orders.internal')!
  orders.proof_of_possession = { mechanism: 'dpop', required: true }
  const token = await tenant.token({ user: 'alice', audience: 'https://storefront.example' })
  const secret = 'demo-only-storefront-client-secret-0001'
  const cwd = await folder(t, {
    token,
    'dpop.key': PEM,
    'behalf.yaml': `server: { replicas: 2 }
issuers:
  tenant: { issuer: "${tenant.url}", profile: auth0, budget: { rate: 8 } }
apis:
  storefront:
    issuer: tenant
    audience: https://storefront.example
    client: { id: storefront-gateway, secret: ${secret}, dpopKey: dpop.key }
routes:
  - name: orders
    match: { path: /orders }
    authenticate: { api: storefront }
    authorize: { scopes: ["read:orders"] }
    exchange: { audience: "https://orders.internal", scopes: ["orders:read"], bound: dpop }
    proxy: { upstream: "http://127.0.0.1:9" }
`,
  })
  return { cwd, token }
}

test('`behalf exchange` binds as the gateway does, and shows neither the proof nor the key', async (t) => {
  const { cwd } = await setting(t)
  const { code, out, err } = await behalf(['exchange', 'orders', '--token-file', 'token'], { cwd })
  assert.equal(code, 0, out + err)
  assert.match(out, /^ +\(proof\) +DPoP$/m)
  assert.match(out, new RegExp(`"jkt":"${createDpopKey(PEM).thumbprint}"`))
  assert.match(out, /^sent on +as DPoP, with orders:read, bound to the client's key/m)
  for (const line of PEM.split('\n').slice(1, -2)) assert.ok(!(out + err).includes(line))
  const argv = ['exchange', 'orders', '--token-file', 'token', '--format', 'json']
  const report = JSON.parse((await behalf(argv, { cwd })).out) as {
    readonly asked: readonly { readonly proof?: string }[]
    readonly issued: object
  }
  assert.equal(report.asked[0]?.proof, 'DPoP')
  assert.deepEqual(report.issued, { scheme: 'DPoP', scopes: ['orders:read'], bound: 'dpop' })
})

test('`behalf check` tells how a route’s tokens are bound', async (t) => {
  const { cwd } = await setting(t)
  const { code, out } = await behalf(['check'], { cwd })
  assert.equal(code, 0, out)
  assert.match(out, /^ +exchange +for https:\/\/orders\.internal .*, bound by dpop$/m)
  assert.doesNotMatch(out, /warning/)
  const json = JSON.parse((await behalf(['check', '--format', 'json'], { cwd })).out) as {
    readonly routes: readonly { readonly exchange: { readonly bound?: string } }[]
  }
  assert.equal(json.routes[0]?.exchange.bound, 'dpop')
})

/** `behalf serve` that trusts this authority; the origin that it listens at. */
async function serve(t: TestContext, files: Readonly<Record<string, string>>): Promise<string> {
  const cwd = await folder(t, files)
  const child = spawn(process.execPath, [MAIN, 'serve'], {
    cwd,
    env: { PATH: process.env['PATH'], NODE_EXTRA_CA_CERTS: join(cwd, 'authority.pem') },
  })
  t.after(() => child.kill('SIGKILL'))
  let output = ''
  const read = (chunk: Buffer): void => void (output += chunk.toString('utf8'))
  child.stdout.on('data', read)
  child.stderr.on('data', read)
  for (;;) {
    const [, address] = /"origin":"(http:[^"]+)"/.exec(output) ?? []
    if (address !== undefined) return address
    if (child.exitCode !== null) throw new Error(`it ended and said:\n${output}`)
    await sleep(5)
  }
}

test(
  'with a certificate, issuer and upstream are shown the one that the token is bound to',
  { skip: NO_OPENSSL },
  async (t) => {
    const authority = createAuthority()
    const tls = (name: string): { cert: string; key: string; ca: string } => {
      const { certificate: cert, key } = authority.issue(name)
      return { cert, key, ca: authority.certificate }
    }
    const outbound = createOutbound({ authorities: authority.certificate })
    t.after(() => outbound.close())
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    const issuer = await startAuthorizationServer(
      'RS256',
      {
        token_endpoint_auth_method: 'client_secret_basic',
        client_secret: GATEWAY_CLIENT.secret,
        tls_client_certificate_bound_access_tokens: true,
      },
      {
        tls: tls('issuer'),
        post: (url, body) => outbound.fetch(url, { method: 'POST', body, headers: form }),
      },
    )
    t.after(() => issuer.close())
    const seen: unknown[] = []
    const upstream = https.createServer(
      { ...tls('upstream'), requestCert: true },
      ({ socket, headers }, response) => {
        const { fingerprint256 } = (socket as TLSSocket).getPeerCertificate()
        const thumbprint = Buffer.from(fingerprint256.replaceAll(':', ''), 'hex')
        const { cnf, sub } = claimsOf(headers.authorization)
        seen.push([sub, cnf, { 'x5t#S256': thumbprint.toString('base64url') }])
        response.end('fine')
      },
    )
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
    t.after(() => {
      upstream.closeAllConnections()
      upstream.close()
    })
    const own = authority.issue('gateway')
    const configuration = {
      server: { listen: '127.0.0.1:0' },
      admin: { listen: '127.0.0.1:0' },
      issuers: { tenant: { issuer: issuer.issuer, profile: 'rfc8693' } },
      apis: {
        storefront: {
          ...{ issuer: 'tenant', audience: 'https://storefront.example' },
          client: {
            ...{ ...GATEWAY_CLIENT, method: 'client_secret_basic' },
            ...{ certificate: 'gateway.pem', key: 'gateway.key' },
          },
        },
      },
      routes: [
        {
          ...{ name: 'orders', match: { path: '/orders' }, authenticate: { api: 'storefront' } },
          authorize: { scopes: ['read:orders'] },
          exchange: {
            ...{ audience: 'https://orders.internal', scopes: ['orders:read'], bound: 'mtls' },
          },
          proxy: { upstream: `https://127.0.0.1:${(upstream.address() as AddressInfo).port}` },
        },
      ],
    }
    const origin = await serve(t, {
      'behalf.yaml': JSON.stringify(configuration),
      'authority.pem': authority.certificate,
      ...{ 'gateway.pem': own.certificate, 'gateway.key': own.key },
    })
    const response = await fetch(`${origin}/orders`, bearer(await issuer.token('alice')))
    assert.equal(response.status, 200, await response.text())
    const [[sub, said, shown]] = seen as [[unknown, unknown, unknown]]
    assert.equal(sub, 'alice')
    assert.deepEqual(said, shown)
  },
)
