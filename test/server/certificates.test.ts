import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import http2 from 'node:http2'
import https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, test, type TestContext } from 'node:test'
import tls from 'node:tls'
import { X509Certificate } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAuthority, NO_OPENSSL, type Authority, type Pair } from '../certificates.ts'
import { startIssuer } from '../issuer.ts'
import { oneRoute, startGateway, startUpstream, type Reloadable } from '../system.ts'

let authority: Authority
let first: Pair
let second: Pair
before(() => {
  if (NO_OPENSSL !== false) return
  authority = createAuthority()
  first = authority.issue('first')
  second = authority.issue('second')
})

const unless = { skip: NO_OPENSSL }

interface Secured {
  readonly gateway: Reloadable
  readonly configuration: object
  readonly token: string
  /** By the listener's name in metrics. */
  readonly ports: Readonly<Record<string, number>>
  write(pair: Partial<Pair>): Promise<void>
}

/** A gateway whose listeners all show what stands in one folder. */
async function secured(t: TestContext): Promise<Secured> {
  const folder = await mkdtemp(join(tmpdir(), 'behalf-tls-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const files = { certificate: join(folder, 'tls.crt'), key: join(folder, 'tls.key') }
  const write: Secured['write'] = async ({ certificate, key }) => {
    if (key !== undefined) await put(files.key, key)
    if (certificate !== undefined) await put(files.certificate, certificate)
  }
  await write(first)
  const issuer = await startIssuer(t)
  const upstream = await startUpstream(t)
  const configuration = {
    ...oneRoute({ issuer: issuer.url, upstream: upstream.origin }),
    server: { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '1s' }, tls: files },
    admin: { listen: '127.0.0.1:0', tls: files },
    endpoints: {
      forwardAuth: { listen: '127.0.0.1:0', original: 'path', tls: files },
      token: { listen: '127.0.0.1:0', routes: ['orders'], tls: files },
    },
  }
  const gateway = await startGateway(t, configuration)
  const { origin, adminOrigin, forwardAuthOrigin, tokenOrigin } = gateway
  const ports = {
    server: portOf(origin),
    admin: portOf(adminOrigin),
    'endpoints.forwardAuth': portOf(forwardAuthOrigin!),
    'endpoints.token': portOf(tokenOrigin!),
  }
  return { gateway, configuration, ports, write, token: await issuer.token() }
}

function portOf(origin: string): number {
  assert.match(origin, /^https:/)
  return Number(new URL(origin).port)
}

async function put(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
}

/** Whose certificate the listener shows to a new connection. */
async function shownBy(port: number): Promise<string> {
  const socket = await connected(port)
  const name = commonName(socket)
  socket.destroy()
  return name
}

async function connected(
  port: number,
  options: tls.ConnectionOptions = {},
): Promise<tls.TLSSocket> {
  const socket = tls.connect({ host: '127.0.0.1', port, ca: authority.certificate, ...options })
  await once(socket, 'secureConnect')
  return socket
}

const commonName = (socket: tls.TLSSocket): string =>
  /CN=(\w+)/.exec(socket.getPeerX509Certificate()?.subject ?? '')![1]!

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await what())) await sleep(10)
}

interface Got {
  readonly status: number
  readonly body: string
}

function get(port: number, path: string, token?: string, agent?: https.Agent): Promise<Got> {
  return new Promise((resolve, reject) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const request = https.get({
      ...{ host: '127.0.0.1', port, path, headers, ca: authority.certificate },
      agent: agent ?? false,
    })
    request.on('error', reject)
    request.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => (body += text))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
  })
}

test('every listener speaks TLS, and answers over it', unless, async (t) => {
  const { ports, token } = await secured(t)
  assert.equal((await get(ports['server']!, '/orders', token)).status, 200)
  assert.equal((await get(ports['admin']!, '/livez')).status, 200)
  assert.equal(
    (await get(ports['endpoints.forwardAuth']!, '/forward-auth/orders', token)).status,
    200,
  )
  assert.equal((await get(ports['endpoints.token']!, '/other')).status, 404)
})

test(
  'forward-auth is asked by HTTP/2, too; the others agree on HTTP/1.1 alone',
  unless,
  async (t) => {
    const { ports, token } = await secured(t)
    const port = ports['endpoints.forwardAuth']!
    const session = http2.connect(`https://127.0.0.1:${port}`, { ca: authority.certificate })
    t.after(() => session.destroy())
    const stream = session.request({
      ':path': '/forward-auth/orders',
      authorization: `Bearer ${token}`,
    })
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    assert.equal(headers[':status'], 200)
    assert.match(String(headers.authorization), /^Bearer ey/)
    for (const name of ['admin', 'endpoints.token']) {
      const socket = await connected(ports[name]!, { ALPNProtocols: ['h2', 'http/1.1'] })
      socket.destroy()
      assert.equal(socket.alpnProtocol, 'http/1.1')
    }
  },
)

test(
  'files that change are shown to new connections of all listeners, and open ones live on',
  unless,
  async (t) => {
    const { ports, gateway, token, write } = await secured(t)
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 })
    t.after(() => agent.destroy())
    const port = ports['server']!
    await get(port, '/orders', token, agent)
    const session = http2.connect(`https://127.0.0.1:${port}`, { ca: authority.certificate })
    t.after(() => session.destroy())
    await once(session, 'connect')
    await write(second)
    for (const one of Object.values(ports))
      await until(async () => (await shownBy(one)) === 'second')
    assert.equal((await get(port, '/orders', token, agent)).status, 200)
    const [socket] = Object.values(agent.freeSockets).flat() as tls.TLSSocket[]
    assert.equal(commonName(socket!), 'first')
    const stream = session.request({ ':path': '/orders', authorization: `Bearer ${token}` })
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    assert.equal(headers[':status'], 200)
    const metrics = gateway.metrics.render()
    const expires = Date.parse(new X509Certificate(second.certificate).validTo) / 1_000
    for (const listener of Object.keys(ports)) {
      const line = `behalf_certificate_expires_timestamp_seconds{listener="${listener}"} ${expires}\n`
      assert.ok(metrics.includes(line), `${line} in\n${metrics}`)
    }
  },
)

for (const [what, change] of [
  ['a key of another', (): Partial<Pair> => ({ key: second.key })],
  ['half a certificate', (): Partial<Pair> => ({ certificate: second.certificate.slice(0, 300) })],
  ['an empty file', (): Partial<Pair> => ({ key: '' })],
  [
    'a chain whose second half is missing',
    (): Partial<Pair> => ({ certificate: first.certificate + second.certificate.slice(0, 300) }),
  ],
] as const) {
  test(
    `${what} is not shown: it is told, and the whole pair is shown when it is there`,
    unless,
    async (t) => {
      const { ports, gateway, write } = await secured(t)
      const told = async (): Promise<string> => (await get(ports['admin']!, '/readyz?verbose')).body
      await write(change())
      await until(async () => /^\[!\] server\.tls: .* is not used$/m.test(await told()))
      for (const port of Object.values(ports)) assert.equal(await shownBy(port), 'first')
      const line = /^behalf_certificate_changes_total\{listener="server",outcome="refused"\} [1-9]/m
      assert.match(gateway.metrics.render(), line)
      assert.match(gateway.logged(), /a certificate cannot be used/)
      assert.equal(gateway.logged().includes('BEGIN'), false)
      await write(second)
      for (const port of Object.values(ports)) {
        await until(async () => (await shownBy(port)) === 'second')
      }
      await until(async () => !/not used/.test(await told()))
    },
  )
}

test(
  'a reload names other files, and what a listener is made with needs a restart',
  unless,
  async (t) => {
    const { ports, gateway, configuration } = await secured(t)
    const { server } = configuration as { readonly server: { readonly tls: object } }
    const other = { certificate: second.certificate, key: second.key, minVersion: 'TLSv1.3' }
    const outcome = await gateway.reloadWith({
      ...configuration,
      server: { ...server, tls: other },
    })
    assert.equal(outcome.outcome === 'reloaded' && outcome.needsRestart.length, 0)
    assert.equal(await shownBy(ports['server']!), 'second')
    await assert.rejects(connected(ports['server']!, { maxVersion: 'TLSv1.2' }))
    assert.equal(await shownBy(ports['admin']!), 'first')
    const plain = await gateway.reloadWith({
      ...configuration,
      server: { listen: '127.0.0.1:0', tls: { ...other, http2: false } },
      admin: { listen: '127.0.0.1:0' },
    })
    assert.deepEqual(plain.outcome === 'reloaded' && plain.needsRestart, [
      'server.tls',
      'admin.tls',
    ])
    assert.equal(await shownBy(ports['server']!), 'second')
    assert.equal(await shownBy(ports['admin']!), 'first')
  },
)

test('a certificate that has expired is told, though it is shown', unless, async (t) => {
  const { gateway, ports } = await secured(t)
  const told = async (): Promise<string> =>
    (await fetchAdmin(ports['admin']!))
      .split('\n')
      .filter((line) => /expired/.test(line))
      .join()
  assert.equal(await told(), '')
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 3 * 86_400_000 })
  assert.match(await told(), /server\.tls: the certificate has expired/)
  assert.equal(gateway.metrics.render().includes('NaN'), false)
})

/** Without verifying: the caller's clock is ours. */
async function fetchAdmin(port: number): Promise<string> {
  const socket = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false })
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  socket.write('GET /readyz?verbose HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n')
  await once(socket, 'close')
  return text
}
