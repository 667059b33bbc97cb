import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import type { Route } from '../../src/config/config.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { OK, startRawUpstream, type RawUpstream } from '../attack/wire.ts'
import { ask, dial, startProxy, startRecorder, token, type Started } from './upstream.ts'

type ProxyPart = Partial<Route['proxy']>

const NOTHING_HERE = 'http://127.0.0.1:1'

function several(...urls: readonly string[]): ProxyPart {
  return { upstreams: urls.map((url) => ({ url, weight: 1 })) }
}

function proxyTo(t: TestContext, proxy: ProxyPart): Promise<Started> {
  return startProxy(t, NOTHING_HERE, { proxy })
}

async function statusOf(
  t: TestContext,
  { port }: Started,
  start = 'GET /orders',
  rest = '\r\n',
): Promise<number> {
  const answer = await ask(t, port, `${start} HTTP/1.1\r\nHost: h\r\n${rest}`)
  return Number(answer.slice(9, 12))
}

/** `ok`, or a status with an empty body. */
async function startStatus(t: TestContext, status: number): Promise<RawUpstream> {
  const upstream = await startRawUpstream(t)
  upstream.answer = (socket) =>
    void socket.write(`HTTP/1.1 ${status} X\r\ncontent-length: 0\r\n\r\n`)
  return upstream
}

test('requests are shared out by weight, evenly mixed', async (t) => {
  const upstreams = await Promise.all([startRecorder(t), startRecorder(t)])
  const proxy = await proxyTo(t, {
    upstreams: upstreams.map(({ url }, index) => ({ url, weight: index === 0 ? 3 : 1 })),
  })
  for (let count = 0; count < 8; count++) await statusOf(t, proxy)
  assert.deepEqual(
    upstreams.map(({ requests }) => requests.length),
    [6, 2],
  )
})

test('who cannot be reached is passed over, and a body that nobody has seen goes to the other', async (t) => {
  const upstream = await startRecorder(t)
  const proxy = await proxyTo(t, several(NOTHING_HERE, upstream.url))
  for (const [start, rest, body] of [
    ['GET /orders', '\r\n', ''],
    ['POST /orders', 'Content-Length: 4\r\n\r\nbody', 'body'],
    ['POST /orders', 'Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n', 'body'],
    ['PATCH /orders', 'Content-Length: 4\r\n\r\nbody', 'body'],
  ] as const) {
    assert.equal(await statusOf(t, proxy, start, rest), 200)
    assert.equal(await statusOf(t, proxy, start, rest), 200)
    assert.equal(upstream.requests.at(-1)?.body, body)
  }
  assert.equal(upstream.requests.length, 8)
})

test('without retries, and without others, who cannot be reached is unavailable', async (t) => {
  const upstream = await startRecorder(t)
  const alone = await proxyTo(t, several(NOTHING_HERE))
  assert.equal(await statusOf(t, alone), 502)
  const never = await proxyTo(t, { ...several(NOTHING_HERE, upstream.url), retries: 0 })
  const statuses = [await statusOf(t, never), await statusOf(t, never)]
  assert.deepEqual(statuses, [502, 200])
})

for (const status of [502, 503, 504]) {
  test(`${status} of one is asked of another, where a request may be repeated`, async (t) => {
    const bad = await startStatus(t, status)
    const good = await startRecorder(t)
    const proxy = await proxyTo(t, several(bad.origin, good.url))
    assert.equal(await statusOf(t, proxy, 'DELETE /orders/1'), 200)
    assert.deepEqual([bad.heads.length, good.requests.length], [1, 1])
  })
}

for (const [what, start, rest] of [
  ['a method that is not idempotent', 'POST /orders', '\r\n'],
  ['a body', 'PUT /orders', 'Content-Length: 4\r\n\r\nbody'],
] as const) {
  test(`503 is the answer to a request with ${what}`, async (t) => {
    const bad = await startStatus(t, 503)
    const good = await startRecorder(t)
    const proxy = await proxyTo(t, several(bad.origin, good.url))
    assert.equal(await statusOf(t, proxy, start, rest), 503)
    assert.equal(good.requests.length, 0)
  })
}

test('500 and 503 of the only upstream are its answers', async (t) => {
  for (const status of [500, 503]) {
    const upstream = await startStatus(t, status)
    assert.equal(await statusOf(t, await proxyTo(t, several(upstream.origin))), status)
    assert.equal(upstream.heads.length, 1)
  }
})

test('503 of all is told, after as many attempts as the route allows', async (t) => {
  const upstreams = await Promise.all([1, 2, 3, 4].map(() => startStatus(t, 503)))
  const proxy = await proxyTo(t, {
    ...several(...upstreams.map(({ origin }) => origin)),
    retries: 2,
  })
  assert.equal(await statusOf(t, proxy), 503)
  assert.equal(upstreams.flatMap(({ heads }) => heads).length, 3)
})

test('retries are at most one in ten requests, and ten at once', async (t) => {
  const [one, other] = await Promise.all([startStatus(t, 503), startStatus(t, 503)])
  const proxy = await proxyTo(t, several(one.origin, other.origin))
  for (let count = 0; count < 40; count++) await statusOf(t, proxy)
  const retries = one.heads.length + other.heads.length - 40
  assert.ok(retries >= 10 && retries <= 14, `${retries}`)
})

test('who fails three times in a row gets nothing for a second, then twice as long', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  const bad = await startStatus(t, 503)
  const good = await startRecorder(t)
  const proxy = await proxyTo(t, several(bad.origin, good.url))
  const ask = async (times: number): Promise<number> => {
    const before = bad.heads.length
    for (let count = 0; count < times; count++) await statusOf(t, proxy)
    return bad.heads.length - before
  }
  assert.equal(await ask(6), 3)
  assert.equal(await ask(6), 0)
  t.mock.timers.tick(1_101)
  assert.equal(await ask(6), 1)
  t.mock.timers.tick(1_101)
  assert.equal(await ask(6), 0)
  t.mock.timers.tick(1_101)
  bad.answer = (socket) => void socket.write(OK)
  // It serves again, and is one of two.
  assert.equal(await ask(6), 3)
})

test('when all pause, all are tried', async (t) => {
  const upstreams = await Promise.all([startStatus(t, 503), startStatus(t, 503)])
  const proxy = await proxyTo(t, several(...upstreams.map(({ origin }) => origin)))
  for (let count = 0; count < 6; count++) await statusOf(t, proxy)
  for (const upstream of upstreams) upstream.answer = (socket) => void socket.write(OK)
  for (let count = 0; count < 4; count++) assert.equal(await statusOf(t, proxy), 200)
})

/** Ends a kept connection as soon as the next request arrives on it: what a race with its idle timeout looks like. */
async function startForgetful(t: TestContext, reset: boolean): Promise<RawUpstream> {
  const upstream = await startRawUpstream(t)
  const used = new WeakSet<Socket>()
  upstream.answer = (socket) => {
    if (!used.has(socket)) {
      used.add(socket)
      socket.write(OK)
    } else if (reset) socket.resetAndDestroy()
    else socket.end()
  }
  return upstream
}

for (const [how, reset] of [
  ['is closed', false],
  ['is reset', true],
] as const) {
  test(`a kept connection that ${how} before any answer costs a request that may be repeated nothing`, async (t) => {
    const upstream = await startForgetful(t, reset)
    const proxy = await proxyTo(t, several(upstream.origin))
    assert.equal(await statusOf(t, proxy), 200)
    assert.equal(await statusOf(t, proxy), 200)
    assert.equal(upstream.heads.length, 3)
  })

  test(`a kept connection that ${how} fails a request that may not be repeated`, async (t) => {
    const upstream = await startForgetful(t, reset)
    const proxy = await proxyTo(t, several(upstream.origin))
    assert.equal(await statusOf(t, proxy, 'POST /orders'), 200)
    assert.equal(await statusOf(t, proxy, 'POST /orders'), 502)
    assert.equal(upstream.heads.length, 2)
  })
}

test('a kept connection that ends within an answer is no stale one', async (t) => {
  const upstream = await startRawUpstream(t)
  const proxy = await proxyTo(t, several(upstream.origin))
  assert.equal(await statusOf(t, proxy), 200)
  upstream.answer = (socket) => void socket.end('HTTP/1.1 200 OK\r\nconte')
  assert.equal(await statusOf(t, proxy), 502)
  assert.equal(upstream.heads.length, 2)
})

test('a retried request keeps its token, and its proof is a new one', async (t) => {
  const bad = await startStatus(t, 503)
  const good = await startRawUpstream(t)
  let proofs = 0
  const proving = { ...token(), scheme: 'DPoP' as const, prove: () => `proof-${++proofs}` }
  const proxy = await startProxy(t, NOTHING_HERE, {
    proxy: several(bad.origin, good.origin),
    token: proving,
  })
  assert.equal(await statusOf(t, proxy), 200)
  const [first = '', second = ''] = [...bad.heads, ...good.heads]
  assert.match(first, /^authorization: DPoP issued\r$/im)
  assert.match(first, /^dpop: proof-1\r$/im)
  assert.match(second, /^dpop: proof-2\r$/im)
})

test('a caller that goes away within the second attempt takes it along', async (t) => {
  const bad = await startStatus(t, 503)
  const silent = await startRawUpstream(t)
  const asked = new Promise<Socket>((resolve) => (silent.answer = resolve))
  const proxy = await proxyTo(t, several(bad.origin, silent.origin))
  const wire = await dial(t, proxy.port)
  wire.socket.write('GET /orders HTTP/1.1\r\nHost: h\r\n\r\n')
  const closed = once(await asked, 'close')
  wire.socket.destroy()
  await closed
  await proxy.settled(1)
  assert.deepEqual(proxy.outcomes, ['gone'])
})

test('100 is sent once, when somebody wants the body', async (t) => {
  const upstream = await startRecorder(t)
  const proxy = await proxyTo(t, several(NOTHING_HERE, upstream.url))
  const wire = await dial(t, proxy.port)
  wire.socket.write(
    'POST /orders HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n',
  )
  await wire.until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/)
  wire.socket.write('body')
  await wire.until(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /)
  assert.equal(upstream.requests[0]?.body, 'body')
})

test('an upstream that wants its own nonce is asked again itself, not the other', async (t) => {
  const upstreams = await Promise.all(
    ['one', 'other'].map(async (nonce) => {
      const upstream = await startRawUpstream(t)
      const challenge = `www-authenticate: DPoP error="use_dpop_nonce"\r\ndpop-nonce: ${nonce}`
      upstream.answer = (socket, head) => {
        const isGood = head.includes(`dpop: proof of ${nonce}\r\n`)
        const refusal = `HTTP/1.1 401 U\r\n${challenge}\r\ncontent-length: 0\r\n\r\n`
        socket.write(isGood ? OK : refusal)
      }
      return upstream
    }),
  )
  const proving = {
    ...token(),
    scheme: 'DPoP' as const,
    prove: (_method: string, _url: string, nonce?: string) => `proof of ${nonce}`,
  }
  const proxy = await startProxy(t, NOTHING_HERE, {
    proxy: several(...upstreams.map(({ origin }) => origin)),
    token: proving,
  })
  for (let count = 0; count < 6; count++) assert.equal(await statusOf(t, proxy), 200)
  assert.deepEqual(
    upstreams.map(({ heads }) => heads.length),
    [4, 4],
  )
})

test('a connection is used for a minute at most, so that a name that moves is found', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  const upstream = await startRawUpstream(t)
  const sockets = new Set<Socket>()
  upstream.answer = (socket) => {
    sockets.add(socket)
    socket.write(OK)
  }
  const proxy = await proxyTo(t, several(upstream.origin))
  for (const [passing, count] of [
    [0, 1],
    [59_000, 1],
    [2_000, 2],
    [1_000, 2],
  ] as const) {
    t.mock.timers.tick(passing)
    assert.equal(await statusOf(t, proxy), 200)
    assert.equal(sockets.size, count)
  }
})

test('an upstream behind a unix socket', async (t) => {
  const path = join(tmpdir(), `behalf-${process.pid}.sock`)
  const server = http.createServer((request, response) => response.end(request.url))
  server.listen(path)
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
    rmSync(path, { force: true })
  })
  const { port } = await proxyTo(t, several(`unix:${path}`))
  assert.match(await ask(t, port, 'GET /orders?x=1 HTTP/1.1\r\nHost: h\r\n\r\n'), /\/orders\?x=1$/)
})

test(
  'an upstream of a private authority, which wants a certificate',
  { skip: NO_OPENSSL },
  async (t) => {
    const [authority, stranger] = [createAuthority(), createAuthority('stranger')]
    const own = authority.issue('upstream')
    const server = https.createServer(
      {
        ...{ cert: own.certificate, key: own.key, ca: authority.certificate },
        ...{ requestCert: true, rejectUnauthorized: true },
      },
      ({ socket }, response) => {
        response.end(String((socket as TLSSocket).getPeerCertificate().subject.CN))
      },
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => {
      server.close()
      server.closeAllConnections()
    })
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    const shown = (pair: { certificate: string; key: string }) => ({
      certificate: { pem: pair.certificate },
      key: { pem: pair.key },
    })
    const answer = async (tls: Route['proxy']['tls']): Promise<string> => {
      const { port } = await proxyTo(t, { ...several(url), tls })
      return ask(t, port, 'GET / HTTP/1.1\r\nHost: h\r\n\r\n')
    }
    const { certificate: authorities } = authority
    const good = { authorities, identity: shown(authority.issue('gateway')) }
    assert.match(await answer(good), /gateway$/)
    assert.match(await answer({ ...good, authorities: stranger.certificate }), /^HTTP\/1\.1 502 /)
    assert.match(await answer({ ...good, authorities: undefined }), /^HTTP\/1\.1 502 /)
    assert.match(await answer({ ...good, identity: undefined }), /^HTTP\/1\.1 502 /)
    const forged = { ...good, identity: shown(stranger.issue('gateway')) }
    assert.match(await answer(forged), /^HTTP\/1\.1 502 /)
  },
)

for (const [asked, strip, prefix, base, forwarded] of [
  ['/api/orders', '', '', '', '/api/orders'],
  ['/api/orders', '/api', '', '', '/orders'],
  ['/api/orders', '/api/orders', '', '', '/'],
  ['/api/orders/', '/api/orders', '', '', '/'],
  ['/api/orders?a=/api', '/api/orders', '', '', '/?a=/api'],
  ['/api/orders/1', '/api/orders', '/v2', '', '/v2/1'],
  ['/api/orders', '/api/orders', '/v2', '', '/v2'],
  ['/api/orders', '', '/v2', '/base', '/base/v2/api/orders'],
  ['/api/api/1', '/api', '', '/base', '/base/api/1'],
  ['/api/orders/a%20b/', '/api', '/v2', '', '/v2/orders/a%20b/'],
] as const) {
  test(`${asked} without "${strip}" below "${base}${prefix}" is ${forwarded}`, async (t) => {
    const upstream = await startRecorder(t)
    const proxy = await proxyTo(t, { ...several(upstream.url + base), strip, prefix })
    assert.equal(await statusOf(t, proxy, `GET ${asked}`), 200)
    assert.equal(upstream.requests[0]?.path, forwarded)
  })
}
