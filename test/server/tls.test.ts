import assert from 'node:assert/strict'
import { hash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { before, test, type TestContext } from 'node:test'
import tls from 'node:tls'
import { createCertificateOf } from '../../src/authenticate/mtls.ts'
import type { TlsConfig } from '../../src/config/config.ts'
import { createApp, createServer } from '../../src/server/listener.ts'
import { createAuthority, NO_OPENSSL, type Authority, type Pair } from '../certificates.ts'
import { listen } from '../system.ts'

let authority: Authority
let own: Pair
let alice: Pair
let stranger: Pair
before(() => {
  if (NO_OPENSSL !== false) return
  authority = createAuthority()
  own = authority.issue('gateway')
  alice = authority.issue('alice')
  stranger = createAuthority('another').issue('stranger')
})

const unless = { skip: NO_OPENSSL }

interface Secure {
  readonly port: number
  readonly server: http.Server
  /** What the application saw, in order. */
  readonly certificates: (string | undefined)[]
}

/** A listener whose application answers with the thumbprint that it sees. */
async function secure(t: TestContext, given: Partial<TlsConfig> = {}): Promise<Secure> {
  const app = createApp()
  const certificates: (string | undefined)[] = []
  const certificateOf = createCertificateOf(() => false)
  app.use((request, response) => {
    certificates.push(certificateOf(request))
    response.send(String(Object.getPrototypeOf(request) === app.request))
  })
  const server = createServer(app, {
    tls: {
      certificate: { pem: own.certificate },
      key: { pem: own.key },
      clientCertificates: 'none',
      clientAuthorities: undefined,
      minVersion: 'TLSv1.2',
      http2: true,
      ...given,
    },
  })
  const origin = await listen(t, server)
  return { port: Number(new URL(origin).port), server, certificates }
}

const thumbprint = ({ certificate }: Pair): string =>
  hash('sha256', new X509Certificate(certificate).raw, 'base64url')

function get(port: number, options: https.RequestOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const { certificate: ca } = authority
    const request = https.get({ host: '127.0.0.1', port, ca, agent: false, ...options })
    request.on('error', reject)
    request.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve(text))
      response.on('error', reject)
    })
  })
}

const showing = ({ certificate, key }: Pair): { cert: string; key: string } => ({
  cert: certificate,
  key,
})

test(
  'requests come over TLS, born with the prototypes of Express as the plain ones are',
  unless,
  async (t) => {
    const { port } = await secure(t)
    assert.equal(await get(port), 'true')
  },
)

test('callers are asked for no certificate unless that is configured', unless, async (t) => {
  const plain = await secure(t)
  await get(plain.port, showing(alice))
  assert.deepEqual(plain.certificates, [undefined])
  const asking = await secure(t, { clientCertificates: 'request' })
  await get(asking.port, showing(alice))
  assert.deepEqual(asking.certificates, [thumbprint(alice)])
})

test('who shows no certificate is served, and any that is shown is seen', unless, async (t) => {
  const { port, certificates } = await secure(t, { clientCertificates: 'request' })
  await get(port)
  await get(port, showing(stranger))
  assert.deepEqual(certificates, [undefined, thumbprint(stranger)])
})

test(
  'with authorities a certificate of another ends the connection, and none does not',
  unless,
  async (t) => {
    const { port, certificates } = await secure(t, {
      clientCertificates: 'request',
      clientAuthorities: { pem: authority.certificate },
    })
    await get(port, showing(alice))
    await get(port)
    await assert.rejects(get(port, showing(stranger)))
    assert.deepEqual(certificates, [thumbprint(alice), undefined])
  },
)

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a ${version} session that is resumed still shows the certificate`, unless, async (t) => {
    const { port, certificates } = await secure(t, { clientCertificates: 'request' })
    const only = { minVersion: version, maxVersion: version, ...showing(alice) }
    const session = await sessionOf(port, only)
    assert.equal(await resumed(port, { ...only, session }), true)
    assert.deepEqual(certificates, [thumbprint(alice), thumbprint(alice)])
  })

  test(
    `a ${version} session of one caller is not resumed with another’s certificate`,
    unless,
    async (t) => {
      const { port, certificates } = await secure(t, {
        clientCertificates: 'request',
        clientAuthorities: { pem: authority.certificate },
      })
      const only = { minVersion: version, maxVersion: version }
      const session = await sessionOf(port, { ...only, ...showing(alice) })
      // What was proven in the first handshake holds, and nothing else was.
      await resumed(port, { ...only, ...showing(stranger), session })
      assert.deepEqual(certificates, [thumbprint(alice), thumbprint(alice)])
    },
  )
}

/** What a first connection leaves for later ones. */
async function sessionOf(port: number, options: tls.ConnectionOptions): Promise<Buffer> {
  let session: Buffer | undefined
  const socket = tls.connect({ host: '127.0.0.1', port, ca: authority.certificate, ...options })
  socket.on('session', (one: Buffer) => (session = one))
  await once(socket, 'secureConnect')
  await asked(socket)
  assert.ok(session)
  return session
}

async function resumed(port: number, options: tls.ConnectionOptions): Promise<boolean> {
  const socket = await connected(port, options)
  const isReused = socket.isSessionReused()
  await asked(socket)
  return isReused
}

async function connected(port: number, options: tls.ConnectionOptions): Promise<tls.TLSSocket> {
  const ca = authority.certificate
  const socket = tls.connect({ host: '127.0.0.1', port, ca, ...options })
  await once(socket, 'secureConnect')
  return socket
}

async function asked(socket: tls.TLSSocket): Promise<void> {
  socket.resume()
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  await once(socket, 'close')
}

test('versions of TLS below the least are refused', unless, async (t) => {
  const newest = await secure(t, { minVersion: 'TLSv1.3' })
  await assert.rejects(get(newest.port, { maxVersion: 'TLSv1.2' }))
  assert.equal(await get(newest.port, { minVersion: 'TLSv1.3' }), 'true')
  const usual = await secure(t)
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  await assert.rejects(get(usual.port, old))
  assert.equal(await get(usual.port, { maxVersion: 'TLSv1.2' }), 'true')
})

test('without HTTP/2, HTTP/1.1 is what is spoken, whatever else is offered', unless, async (t) => {
  const { port } = await secure(t, { http2: false })
  const socket = await connected(port, { ALPNProtocols: ['h2', 'http/1.1'] })
  t.after(() => socket.destroy())
  assert.equal(socket.alpnProtocol, 'http/1.1')
})

test('a TLS 1.2 connection is never shaken anew', unless, async (t) => {
  const { port } = await secure(t, { clientCertificates: 'request' })
  const socket = await connected(port, { maxVersion: 'TLSv1.2', ...showing(alice) })
  t.after(() => socket.destroy())
  const refused = await new Promise<Error | null>((resolve) => {
    socket.on('error', resolve)
    socket.renegotiate({}, resolve)
  })
  assert.ok(refused instanceof Error)
})

for (const [name, bytes] of [
  ['plain HTTP', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['noise', '\x16\x03\x01\xff\xff\x00\x00'],
] as const) {
  test(
    `${name} in place of TLS ends the connection, and the listener lives on`,
    unless,
    async (t) => {
      const { port } = await secure(t)
      const socket = net.connect(port, '127.0.0.1')
      let answer = ''
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')))
      socket.on('error', () => undefined)
      socket.end(bytes, 'latin1')
      await once(socket, 'close')
      assert.doesNotMatch(answer, /HTTP/)
      assert.equal(await get(port), 'true')
    },
  )
}

// Left alone, such a connection ends after ten seconds.
const soon = { ...unless, timeout: 8_000 }
test('who is still shaking hands does not hold the listener when it closes', soon, async (t) => {
  const { port, server } = await secure(t)
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(server, 'connection')
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
  socket.destroy()
})

test('malformed HTTP within TLS is answered in our form', unless, async (t) => {
  const { port } = await secure(t)
  const socket = await connected(port, {})
  let answer = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk))
  socket.write('HELLO\r\n\r\n')
  await once(socket, 'close')
  assert.match(answer, /^HTTP\/1\.1 400 /)
  assert.match(answer, /application\/problem\+json/)
})
