import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { createExchange, type Exchange } from '../../src/exchange/exchange.ts'
import type { Client } from '../../src/config/config.ts'
import { createOutbound, type Outbound } from '../../src/outbound.ts'
import { createAuthority, NO_OPENSSL, type Authority } from '../certificates.ts'
import { api, ask, IDENTIFIER, permit, unsignedJwt } from '../support.ts'

interface Shown {
  /** The common name of the client's certificate; empty where none was shown. */
  readonly name: string
  readonly form: URLSearchParams
}

/** A token endpoint that asks for certificates of this authority, and an exchange that trusts it. */
async function issuerOf(
  context: TestContext,
  authority: Authority,
  client: Client,
): Promise<{ exchange: () => Promise<unknown>; shown: Shown[]; endpoints: string[] }> {
  const shown: Shown[] = []
  const { certificate: cert, key } = authority.issue('issuer')
  const options = { cert, key, ca: authority.certificate, requestCert: true }
  const server = createServer({ ...options, rejectUnauthorized: false }, (request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    request.on('end', () => {
      const socket = request.socket as TLSSocket
      const name = socket.authorized ? String(socket.getPeerCertificate().subject.CN) : ''
      shown.push({ name, form: new URLSearchParams(text) })
      const access_token = unsignedJwt({ iss: IDENTIFIER, sub: 'alice', aud: 'orders' })
      const issued_token_type = 'urn:ietf:params:oauth:token-type:access_token'
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ access_token, token_type: 'Bearer', issued_token_type }))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  context.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/token`
  const outbound = createOutbound({ authorities: authority.certificate })
  context.after(() => outbound.close())
  const endpoints: string[] = []
  const exchange: Exchange = createExchange({
    tokenEndpointOf: async (_issuer, _identifier, endpoint) => {
      endpoints.push(endpoint)
      return url
    },
    outbound,
    presenting(identity) {
      const own = createOutbound({ identity, authorities: authority.certificate })
      // Where the certificate changed it is closed already.
      context.after(() => own.close().catch(() => undefined))
      return own
    },
  })
  const own = api({ client })
  const given = permit({ subject: { api: own }, route: { exchange: { audience: 'orders' } } })
  return { exchange: async () => exchange(given, ask()), shown, endpoints }
}

const pemOf = (pair: { certificate: string; key: string }): Client => ({
  id: 'gateway',
  method: 'tls_client_auth',
  certificate: { pem: pair.certificate },
  key: { pem: pair.key },
})

test(
  'a client with a certificate shows it, and sends its id alone',
  { skip: NO_OPENSSL },
  async (context) => {
    const authority = createAuthority()
    const client = pemOf(authority.issue('gateway'))
    const { exchange, shown, endpoints } = await issuerOf(context, authority, client)
    await exchange()
    assert.equal(shown[0]?.name, 'gateway')
    const { form } = shown[0]
    assert.equal(form.get('client_id'), 'gateway')
    assert.deepEqual([form.has('client_secret'), form.has('client_assertion')], [false, false])
    assert.deepEqual(endpoints, ['mutualTlsTokenEndpoint'])
  },
)

test('a client with a secret shows no certificate', { skip: NO_OPENSSL }, async (context) => {
  const authority = createAuthority()
  const client = { id: 'gateway', method: 'client_secret_post', secret: 'secret' } as const
  const { exchange, shown, endpoints } = await issuerOf(context, authority, client)
  await exchange()
  assert.deepEqual([shown[0]?.name, endpoints], ['', ['tokenEndpoint']])
})

test(
  'a certificate of another authority is not taken for one of its own',
  { skip: NO_OPENSSL },
  async (context) => {
    const client = pemOf(createAuthority('another').issue('gateway'))
    const { exchange, shown } = await issuerOf(context, createAuthority(), client)
    await exchange()
    assert.equal(shown[0]?.name, '')
  },
)

test(
  'a certificate is read again when both its files have changed',
  { skip: NO_OPENSSL },
  async (context) => {
    const folder = await mkdtemp(join(tmpdir(), 'behalf-'))
    context.after(() => rm(folder, { recursive: true, force: true }))
    const [certificate, key] = [join(folder, 'certificate'), join(folder, 'key')]
    const put = async (file: string, text: string): Promise<void> => {
      await writeFile(`${file}.new`, text)
      await rename(`${file}.new`, file)
    }
    const authority = createAuthority()
    const [first, second] = [authority.issue('first'), authority.issue('second')]
    await put(certificate, first.certificate)
    await put(key, first.key)
    const { exchange, shown } = await issuerOf(context, authority, {
      ...{ id: 'gateway', method: 'tls_client_auth' },
      ...{ certificate: { file: certificate }, key: { file: key } },
    })
    await exchange()
    await put(certificate, second.certificate)
    await exchange()
    await put(key, second.key)
    await exchange()
    assert.deepEqual(
      shown.map(({ name }) => name),
      ['first', 'first', 'second'],
    )
  },
)

test(
  'a certificate is never left out because the endpoint has no TLS',
  { skip: NO_OPENSSL },
  async (context) => {
    const outbound = createOutbound()
    context.after(() => outbound.close())
    let presented = 0
    const exchange = createExchange({
      tokenEndpointOf: async () => 'http://127.0.0.1:9/token',
      outbound,
      presenting: () => (presented++, outbound),
    })
    const own = api({ client: pemOf(createAuthority().issue('gateway')) })
    await assert.rejects(async () => exchange(permit({ subject: { api: own } }), ask()), {
      code: 'exchange_misconfigured',
    })
    assert.equal(presented, 0)
  },
)

test(
  'closing an exchange closes what showed certificates, and nothing that it was given',
  { skip: NO_OPENSSL },
  async () => {
    const closed: string[] = []
    const named = (name: string): Outbound => ({
      fetch: () => Promise.reject(new Error('nobody is there')),
      close: async () => void closed.push(name),
    })
    const authority = createAuthority()
    const exchange = createExchange({
      tokenEndpointOf: async () => 'https://127.0.0.1:9/token',
      outbound: named('given'),
      presenting: ({ certificate }) => named(new X509Certificate(certificate).subject),
    })
    for (const name of ['one', 'two']) {
      const own = api({ name, client: pemOf(authority.issue(name)) })
      const asked = async (): Promise<unknown> => exchange(permit({ subject: { api: own } }), ask())
      await assert.rejects(asked(), { code: 'exchange_unavailable' })
    }
    assert.deepEqual(closed, [])
    await exchange.close()
    assert.deepEqual(new Set(closed), new Set(['CN=one', 'CN=two']))
    assert.equal(closed.length, 2)
  },
)
