import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync } from 'node:crypto'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { createAuthority, NO_OPENSSL, type Authority } from '../certificates.ts'
import { listen, SECRET, unsignedJwt } from '../support.ts'
import { folder } from '../folder.ts'
import { behalf, type Ended } from './behalf.ts'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

/** A subject token by the API's secret: no key set is needed. */
function subjectToken(iss: string): string {
  const claims = { iss, sub: 'alice', aud: 'https://storefront.example', exp: 4_000_000_000 }
  const segments = [{ alg: 'HS256' }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  )
  const signed = segments.join('.')
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`
}

function answer(iss: string): string {
  const token = unsignedJwt({ iss, sub: 'alice', aud: 'https://orders.internal' })
  return JSON.stringify({
    access_token: token,
    token_type: 'Bearer',
    issued_token_type: ACCESS_TOKEN,
    expires_in: 300,
  })
}

interface Issuer {
  readonly url: string
  /** What came to the token endpoint for clients without a certificate. */
  readonly forms: URLSearchParams[]
}

/** Clients with a certificate are sent elsewhere. */
async function startIssuer(t: TestContext, elsewhere = 'https://127.0.0.1:9/'): Promise<Issuer> {
  const forms: URLSearchParams[] = []
  const url: string = await listen(t, (request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      if (request.method === 'POST') {
        forms.push(new URLSearchParams(body))
        response.end(answer(url))
        return
      }
      const aliases = { token_endpoint: elsewhere }
      const metadata = {
        issuer: url,
        token_endpoint: `${url}/token`,
        mtls_endpoint_aliases: aliases,
      }
      response.end(JSON.stringify(metadata))
    })
  })
  return { url, forms }
}

/** A token endpoint that asks for certificates, and whose they were. */
async function startMutual(
  t: TestContext,
  authority: Authority,
  iss: () => string,
): Promise<{ readonly url: string; readonly names: string[] }> {
  const names: string[] = []
  const { certificate: cert, key } = authority.issue('issuer')
  const options = { cert, key, ca: authority.certificate, requestCert: true }
  const server = https.createServer(
    { ...options, rejectUnauthorized: false },
    (request, response) => {
      const socket = request.socket as TLSSocket
      names.push(socket.authorized ? String(socket.getPeerCertificate().subject.CN) : '')
      request.resume().on('end', () => response.end(answer(iss())))
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/token`, names }
}

interface Run {
  readonly issuer: Issuer
  readonly client: string
  readonly files?: Readonly<Record<string, string>>
  readonly environment?: Readonly<Record<string, string>>
}

async function exchange(
  t: TestContext,
  { issuer, client, files, environment }: Run,
): Promise<Ended> {
  const cwd = await folder(t, {
    ...files,
    token: subjectToken(issuer.url),
    'behalf.yaml': `issuers: { tenant: { issuer: "${issuer.url}", profile: rfc8693 } }
apis:
  storefront:
    issuer: tenant
    audience: https://storefront.example
    signingSecret: "${SECRET}"
    client: ${client}
routes:
  - name: orders
    match: { path: /orders }
    authenticate: { api: storefront }
    exchange: { audience: https://orders.internal }
    proxy: { upstream: "http://127.0.0.1:9" }
`,
  })
  const argv = ['exchange', 'orders', '--token-file', 'token']
  return behalf(argv, { cwd, environment: { ...environment, ...certificates(cwd, files) } })
}

/** Node's own variable for authorities to trust beside its own. */
function certificates(cwd: string, files: object = {}): Readonly<Record<string, string>> {
  return 'authority.pem' in files ? { NODE_EXTRA_CA_CERTS: `${cwd}/authority.pem` } : {}
}

for (const [method, client] of [
  ['client_secret_basic', '{ id: gateway, secret: canary-client-secret-0001 }'],
  ['client_assertion', '{ id: gateway, privateKey: "${file:key.pem}", keyId: one }'],
] as const) {
  test(`exchange tells of ${method}, and nothing of what was shown`, async (t) => {
    const issuer = await startIssuer(t)
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    const ended = await exchange(t, { issuer, client, files: { 'key.pem': key } })
    assert.deepEqual([ended.code, ended.err], [0, ''], ended.out)
    assert.match(ended.out, new RegExp(`^ {10}\\(client\\) +${method}$`, 'm'))
    const shown = [...key.split('\n').slice(1, -2), 'canary-client-secret-0001', SECRET]
    const assertion = issuer.forms[0]?.get('client_assertion')
    for (const secret of [...shown, ...(assertion?.split('.') ?? [])]) {
      assert.equal(ended.out.includes(secret), false, secret)
    }
    assert.equal(typeof assertion === 'string', method === 'client_assertion')
  })
}

test(
  'exchange shows the certificate of a client that has one, where such clients are asked to go',
  { skip: NO_OPENSSL },
  async (t) => {
    const authority = createAuthority()
    let url = ''
    const mutual = await startMutual(t, authority, () => url)
    const issuer = await startIssuer(t, mutual.url)
    url = issuer.url
    const { certificate, key } = authority.issue('gateway')
    const ended = await exchange(t, {
      issuer,
      client: '{ id: gateway, certificate: "${file:certificate.pem}", key: "${file:key.pem}" }',
      files: {
        'certificate.pem': certificate,
        'key.pem': key,
        'authority.pem': authority.certificate,
      },
    })
    assert.deepEqual([ended.code, ended.err], [0, ''], ended.out)
    assert.deepEqual([mutual.names, issuer.forms], [['gateway'], []])
    assert.match(ended.out, /^ {10}\(client\) +tls_client_auth$/m)
    assert.ok(ended.out.includes(`asked     POST ${mutual.url}\n`), ended.out)
    for (const line of key.split('\n').slice(1, -2)) assert.equal(ended.out.includes(line), false)
  },
)
