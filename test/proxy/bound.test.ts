import assert from 'node:assert/strict'
import type http from 'node:http'
import https from 'node:https'
import type { TLSSocket } from 'node:tls'
import { test, type TestContext } from 'node:test'
import { hash } from 'node:crypto'
import { createDpopKey } from '../../src/exchange/dpop.ts'
import { ClientIdentity } from '../../src/exchange/identity.ts'
import type { IssuedToken } from '../../src/exchange/issued.ts'
import { createAuthority, NO_OPENSSL } from '../certificates.ts'
import { verifyProof } from '../proofs.ts'
import { ask, listen, startHttp, startProxy, token } from './upstream.ts'

const KEY = createDpopKey()

function boundToken(value = 'issued'): IssuedToken {
  const ath = hash('sha256', value, 'base64url')
  return {
    ...token(value),
    scheme: 'DPoP',
    prove: (method, url, nonce) => KEY.proof({ method, url, nonce, ath }),
  }
}

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

type Answer = (seen: Seen, response: http.ServerResponse, index: number) => void

interface Path {
  readonly ask: (text: string) => Promise<string>
  readonly seen: Seen[]
  readonly outcomes: readonly string[]
  readonly origin: string
}

/** A caller, the proxy with a bound token, and an upstream with a base path. */
async function pathTo(t: TestContext, answer: Answer, issued = boundToken()): Promise<Path> {
  const seen: Seen[] = []
  const origin = await startHttp(t, (request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      seen.push({ method, url, headers, body })
      answer(seen.at(-1)!, response, seen.length - 1)
    })
  })
  const proxy = await startProxy(t, `${origin}/base/`, { token: issued })
  return { ask: (text) => ask(t, proxy.port, text), seen, outcomes: proxy.outcomes, origin }
}

const fine: Answer = (_seen, response) => void response.end('fine')
const HEAD = 'Host: gateway.example\r\nConnection: close\r\n'

test('each request has a proof of its own, for what is really asked', async (t) => {
  const { ask, seen, origin } = await pathTo(t, fine)
  await ask(`GET /orders/1?page=2 HTTP/1.1\r\n${HEAD}\r\n`)
  await ask(`POST /orders HTTP/1.1\r\n${HEAD}Content-Length: 4\r\n\r\nbody`)
  const jtis = new Set<string>()
  for (const [index, [method, path]] of [
    ['GET', '/base/orders/1'],
    ['POST', '/base/orders'],
  ].entries()) {
    const { headers } = seen[index]!
    assert.equal(headers.authorization, 'DPoP issued')
    const expected = { method: method!, url: origin + path!, accessToken: 'issued' }
    const { thumbprint, jti } = await verifyProof(headers['dpop'], expected)
    assert.equal(thumbprint, KEY.thumbprint)
    jtis.add(jti)
  }
  assert.equal(jtis.size, 2)
  assert.equal(seen[0]!.url, '/base/orders/1?page=2')
})

test('a caller’s own proof never gets to the upstream, with a bound token and with a bearer one', async (t) => {
  for (const issued of [boundToken(), token()]) {
    const { ask, seen, origin } = await pathTo(t, fine, issued)
    await ask(`GET /orders HTTP/1.1\r\n${HEAD}DPoP: of-the-caller\r\n\r\n`)
    const { dpop } = seen[0]!.headers
    if (issued.prove === undefined) assert.equal(dpop, undefined)
    else
      await verifyProof(dpop, {
        method: 'GET',
        url: `${origin}/base/orders`,
        accessToken: 'issued',
      })
  }
})

const nonceOf = ({ headers }: Seen): unknown => {
  const [, claims = ''] = String(headers['dpop']).split('.')
  return (JSON.parse(Buffer.from(claims, 'base64url').toString()) as { nonce?: string }).nonce
}

function wantNonce(response: http.ServerResponse, nonce: string): void {
  response.writeHead(401, {
    'www-authenticate': 'Bearer, DPoP algs="ES256", error="use_dpop_nonce"',
    'dpop-nonce': nonce,
  })
  response.end('an unread body')
}

/** Takes the nonce that it gave last, and gives another with each answer that is good. */
const wanting: Answer = (seen, response, index) => {
  if (nonceOf(seen) !== `nonce-${index - 1}`) return wantNonce(response, `nonce-${index}`)
  response.setHeader('DPoP-Nonce', `nonce-${index}`)
  response.end('fine')
}

test('an upstream that wants its nonce is asked once more with it, and nobody is told', async (t) => {
  const { ask, seen, outcomes, origin } = await pathTo(t, wanting)
  const first = await ask(`GET /orders HTTP/1.1\r\n${HEAD}\r\n`)
  assert.match(first, /^HTTP\/1\.1 200 OK\r\n[^]*fine$/)
  assert.equal(seen.length, 2)
  await verifyProof(seen[1]!.headers['dpop'], {
    ...{ method: 'GET', url: `${origin}/base/orders`, accessToken: 'issued' },
    nonce: 'nonce-0',
  })
  // What came with the good answer goes into the next proof, and not to the caller.
  const second = await ask(`DELETE /orders HTTP/1.1\r\n${HEAD}\r\n`)
  assert.match(second, /^HTTP\/1\.1 200 OK/)
  assert.equal(seen.length, 3)
  assert.doesNotMatch(first + second, /dpop-nonce/i)
  assert.deepEqual(outcomes, ['answered', 'answered'])
})

test('a method that changes things is asked once more as well: nobody has looked at it yet', async (t) => {
  const { ask, seen } = await pathTo(t, wanting)
  assert.match(await ask(`DELETE /orders/1 HTTP/1.1\r\n${HEAD}\r\n`), /^HTTP\/1\.1 200 OK/)
  assert.deepEqual(
    seen.map(({ method }) => method),
    ['DELETE', 'DELETE'],
  )
})

test('a body is not sent twice: its request fails, and the next one has the nonce', async (t) => {
  const { ask, seen, outcomes } = await pathTo(t, wanting)
  const post = `POST /orders HTTP/1.1\r\n${HEAD}Content-Length: 4\r\n\r\nbody`
  const refused = await ask(post)
  assert.match(refused, /^HTTP\/1\.1 502 /)
  assert.match(refused, /retry-after: 1\r\n/i)
  assert.equal(seen.length, 1)
  assert.match(await ask(post), /^HTTP\/1\.1 200 OK/)
  assert.deepEqual(outcomes, ['upstream_rejected_token', 'answered'])
})

test('an upstream that is never content with its nonce is asked twice, and no token is blamed', async (t) => {
  const { ask, seen, outcomes } = await pathTo(t, (_seen, response, index) =>
    wantNonce(response, `other-${index}`),
  )
  assert.match(await ask(`GET /orders HTTP/1.1\r\n${HEAD}\r\n`), /^HTTP\/1\.1 502 /)
  assert.equal(seen.length, 2)
  // Not `token_rejected`, which would cost an exchange.
  assert.deepEqual(outcomes, ['upstream_rejected_token'])
})

for (const [what, headers] of [
  ['another error', { 'www-authenticate': 'DPoP error="invalid_token"', 'dpop-nonce': 'n' }],
  ['no nonce', { 'www-authenticate': 'DPoP error="use_dpop_nonce"' }],
  [
    'a nonce that is none',
    { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'a b' },
  ],
] as const) {
  test(`a challenge with ${what} refuses the token`, async (t) => {
    const { ask, seen, outcomes } = await pathTo(t, (_seen, response) =>
      response.writeHead(401, headers).end(),
    )
    await ask(`GET /orders HTTP/1.1\r\n${HEAD}\r\n`)
    assert.deepEqual([outcomes, seen.length], [['token_rejected'], 1])
  })
}

test('a bearer token is refused by a challenge for a nonce like by any other', async (t) => {
  const answer: Answer = (_seen, response) => wantNonce(response, 'n')
  const { ask, seen, outcomes } = await pathTo(t, answer, token())
  await ask(`GET /orders HTTP/1.1\r\n${HEAD}\r\n`)
  assert.deepEqual([outcomes, seen.length], [['token_rejected'], 1])
})

test(
  'the upstream is shown the certificate that the token is bound to, and no other connection',
  { skip: NO_OPENSSL },
  async (t) => {
    const authority = createAuthority()
    const { certificate: cert, key } = authority.issue('upstream')
    const shown: string[] = []
    const server = https.createServer(
      { cert, key, ca: authority.certificate, requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        const socket = request.socket as TLSSocket
        const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined
        const name = certificate?.subject ?? 'none'
        shown.push(`${name} ${request.headers.authorization}`)
        response.end('fine')
      },
    )
    const port = await listen(t, server)
    t.after(() => server.closeAllConnections())
    const issued = { ...token(), identity: undefined as ClientIdentity | undefined }
    const options = { token: issued, authorities: authority.certificate }
    const proxy = await startProxy(t, `https://127.0.0.1:${port}`, options)
    const [one, two] = ['one', 'two'].map((name) => new ClientIdentity(authority.issue(name)))
    // Twice, so that each finds the connections of the others.
    for (const round of ['first', 'second']) {
      for (const identity of [one, two, undefined]) {
        Object.assign(issued, { identity, value: round })
        await ask(t, proxy.port, `GET /orders HTTP/1.1\r\n${HEAD}\r\n`)
      }
    }
    assert.deepEqual(new Set(proxy.outcomes), new Set(['answered']))
    assert.deepEqual(
      shown,
      ['first', 'second'].flatMap((round) =>
        ['CN=one', 'CN=two', 'none'].map((name) => `${name} Bearer ${round}`),
      ),
    )
  },
)

test('each upstream of a route has its own nonce, and one that wants it is asked again itself', async (t) => {
  const asked: string[] = []
  const origins: string[] = []
  for (const name of ['one', 'two']) {
    const origin = await startHttp(t, (request, response) => {
      const { headers, method = '', url = '' } = request
      const given = nonceOf({ headers, method, url, body: '' })
      asked.push(`${name} ${String(given)}`)
      if (given === `of-${name}`) response.end('fine')
      else wantNonce(response, `of-${name}`)
    })
    origins.push(origin)
  }
  const upstreams = origins.map((url) => ({ url, weight: 1 }))
  const proxy = await startProxy(t, origins[0]!, { token: boundToken(), proxy: { upstreams } })
  for (let request = 0; request < 4; request++) {
    const answer = await ask(t, proxy.port, `GET /orders HTTP/1.1\r\n${HEAD}\r\n`)
    assert.match(answer, /^HTTP\/1\.1 200 OK/)
  }
  assert.deepEqual(asked.toSorted(), [
    ...['one of-one', 'one of-one', 'one undefined'],
    ...['two of-two', 'two of-two', 'two undefined'],
  ])
})
